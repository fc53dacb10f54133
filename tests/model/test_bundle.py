"""Bundles on disk: what is verified, and what the shipped one promises."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from model.bundle import (
    CONFIG_FILE,
    FORMAT_VERSION,
    MODEL_CARD,
    Bundle,
    BundleConfig,
    file_digest,
    shipped_bundle,
    write_config,
)
from model.errors import BundleError
from model.space import JointSpace
from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS, ENCODERS, VOCABULARY
from model.training.card import model_card
from tests.tiny import write_bundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global add_graphs
    from model.training.graphs import add_graphs


REQUIRED = (BACKBONE_WEIGHTS, BACKBONE_GRAPH, ENCODERS, VOCABULARY, MODEL_CARD)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    return Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))


def test_the_shipped_bundle_is_whole_and_small_enough_for_the_repository() -> None:
    bundle = Bundle.load()
    assert set(bundle.config.files) == {path.name for path in shipped_bundle().iterdir()} - {CONFIG_FILE}
    assert sum(path.stat().st_size for path in shipped_bundle().iterdir()) < 80_000_000


def test_the_model_card_states_origin_terms_and_every_figure() -> None:
    card = (shipped_bundle() / MODEL_CARD).read_text()
    config = Bundle.load().config
    assert card == model_card(config)
    assert "non-commercial" in card
    assert config.recipe["history"] in card
    for quality in config.quality.values():
        for report in quality["retrieval"].values():
            assert f"{report['image_to_sentence']['r1']:.1f} /" in card
            assert f"{report['sentence_to_image']['r1']:.1f} /" in card


@pytest.mark.parametrize("name", REQUIRED)
def test_one_changed_byte_is_noticed_and_the_file_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=name) as caught:
        Bundle.load(copy)
    assert caught.value.code == "bundle_corrupted"


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(copy)


def test_a_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=CONFIG_FILE) as caught:
        Bundle.load(tmp_path)
    assert caught.value.code == "bundle_missing"


def _edit(copy: Path, **changes: object) -> None:
    config = json.loads((copy / CONFIG_FILE).read_text())
    (copy / CONFIG_FILE).write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format_version": 99}, "bundle_unsupported"),
        ({"dimension": "wide"}, "bundle_corrupted"),
        ({"surprise": 1}, "bundle_corrupted"),
        ({"files": {}}, "bundle_corrupted"),
        ({"image": None}, "bundle_corrupted"),
        ({"text": []}, "bundle_corrupted"),
    ],
)
def test_a_configuration_that_cannot_be_trusted(copy: Path, changes: dict[str, object], code: str) -> None:
    _edit(copy, **changes)
    with pytest.raises(BundleError, match=CONFIG_FILE) as caught:
        Bundle.load(copy)
    assert caught.value.code == code


def test_of_a_thousand_mistakes_the_first_is_named(copy: Path) -> None:
    text = json.loads((copy / CONFIG_FILE).read_text())["text"]
    text["names"]["names"] = [names[0] for names in text["names"]["names"]]
    _edit(copy, text=text)
    with pytest.raises(BundleError, match=r"text\.words\.names\.names\.0: Input should be a valid tuple\.") as caught:
        Bundle.load(copy)
    assert str(caught.value).count("Input should be") == 1


def test_a_configuration_that_is_nested_too_deeply(copy: Path) -> None:
    (copy / CONFIG_FILE).write_text("[" * 200_000)
    with pytest.raises(BundleError, match=CONFIG_FILE):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["..", "", "a\0b", "a" * 300, "\ud800", "folder"])
def test_a_name_that_no_file_of_a_bundle_can_have(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "folder").mkdir()
    _edit(bundle, files=Bundle.load(bundle).config.files | {name: "0" * 64})
    with pytest.raises(BundleError) as caught:
        Bundle.load(bundle)
    assert caught.value.code == "bundle_corrupted"


@pytest.mark.parametrize("data", ["caf\u00e9\n".encode("latin-1"), b"dog\ndog\n"], ids=["encoding", "repeated"])
def test_a_vocabulary_that_is_none(tmp_path: Path, data: bytes) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    config = Bundle.load(bundle).config
    (bundle / VOCABULARY).write_bytes(data)
    write_config(bundle, config)
    with pytest.raises(BundleError, match=VOCABULARY):
        JointSpace.load(bundle)


@pytest.mark.parametrize("changes", [{"lstm_dimension": None}, {"encoders": ["bag"]}])
def test_a_sentence_encoder_that_is_not_there(tmp_path: Path, changes: dict[str, object]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    _edit(bundle, text=json.loads((bundle / CONFIG_FILE).read_text())["text"] | changes)
    with pytest.raises(BundleError, match=CONFIG_FILE):
        JointSpace.load(bundle)


def test_a_bundle_that_takes_the_place_of_one_in_use_is_not_mixed_with_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", seed=1)
    space = JointSpace.load(bundle)
    bundle.rename(tmp_path / "old")
    write_bundle(bundle, seed=2)
    with pytest.raises(BundleError, match=f"{ENCODERS} has changed since the bundle was opened"):
        space.embed_images([Image.new("RGB", (40, 40))])  # the image networks are read for the first image


def test_a_bundle_in_use_may_be_copied_over_itself(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    space = JointSpace.load(bundle)
    shutil.copytree(bundle, tmp_path / "copy")
    bundle.rename(tmp_path / "old")
    (tmp_path / "copy").rename(bundle)
    assert space.embed_images([Image.new("RGB", (40, 40))]).shape == (1, space.dimension)


@pytest.mark.parametrize(
    ("side", "changes", "code", "words"),
    [
        ("image", {"tower": "pyramid"}, "bundle_unsupported", "pyramid"),
        ("text", {"tower": "babel"}, "bundle_unsupported", "babel"),
        ("text", {"tokeniser": "upper-2"}, "bundle_unsupported", "upper-2"),
        ("text", {"words": 7}, "bundle_corrupted", VOCABULARY),
        ("text", {"grounded_words": 7}, "bundle_corrupted", ENCODERS),
        ("text", {"lstm_dimension": 7}, "bundle_corrupted", ENCODERS),
        ("image", {"feature_dimension": 7}, "bundle_corrupted", ENCODERS),
    ],
)
def test_towers_that_this_visem_does_not_have(
    tmp_path: Path, side: str, changes: dict[str, object], code: str, words: str
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    config = json.loads((bundle / CONFIG_FILE).read_text())
    _edit(bundle, **{side: config[side] | changes})
    with pytest.raises(BundleError, match=words) as caught:
        JointSpace.load(bundle, device="cpu")
    assert caught.value.code == code


def test_a_bundle_of_unnamed_kinds_of_towers_has_the_default_ones(copy: Path) -> None:
    config = json.loads((copy / CONFIG_FILE).read_text())
    for side in ("image", "text"):
        config[side].pop("tower", None)
    _edit(copy, image=config["image"], text=config["text"])
    read = Bundle.load(copy).config
    assert (read.image.tower, read.text.tower) == ("backbone", "words")
    assert read.space_id == Bundle.load().config.space_id


def test_a_bundle_from_before_there_were_names_of_kinds_keeps_its_identity(copy: Path) -> None:
    config = json.loads((copy / CONFIG_FILE).read_text())
    text = {field: value for field, value in config["text"].items() if field != "names"}
    image = {
        field: value for field, value in config["image"].items() if field not in ("views", "kinds_feature_dimension")
    }
    image |= {"backbone": "tf_efficientnet_lite2", "feature_dimension": 1280}  # bundles had one network then
    _edit(copy, format_version=2, text=text, image=image)
    old = Bundle.load(copy).config
    identity = {
        "dimension": old.dimension,
        "image": {field: value for field, value in image.items() if field != "tower"},
        "text": {field: value for field, value in text.items() if field != "tower"},
        "files": {name: digest for name, digest in old.files.items() if name in old.vector_files},
    }
    assert old.space_id == hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    again = write_config(copy, old)
    assert (again.format_version, again.space_id) == (FORMAT_VERSION, old.space_id)


def test_calibrations_of_format_version_3_are_read_and_written_anew(copy: Path) -> None:
    curves = {"sentence_to_images": {"slope": 10, "intercept": -4, "brevity": 1.5, "bend": []}}
    _edit(copy, format_version=3, calibration={"curves": curves, "errors": {}, "fitted_on": "made"})
    again = write_config(copy, Bundle.load(copy).config)
    assert again.format_version == FORMAT_VERSION
    read = Bundle.load(copy).config.calibration
    assert read is not None
    curve = read.curves["sentence_to_images"]
    assert (curve.slope, curve.intercept, curve.weights, curve.usual) == (10, -4, (1.5,), (1.0,))


def test_a_configuration_that_is_not_json(copy: Path) -> None:
    (copy / CONFIG_FILE).write_bytes(b"\x00{")
    with pytest.raises(BundleError, match=CONFIG_FILE):
        Bundle.load(copy)


def test_files_outside_the_bundle_are_never_read(copy: Path) -> None:
    outside = copy.parent / "outside"
    outside.write_text("x")
    files = json.loads((copy / CONFIG_FILE).read_text())["files"]
    _edit(copy, files=files | {"../outside": file_digest(outside)})
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.load(copy)


def test_the_identity_follows_the_vectors_and_nothing_else(copy: Path) -> None:
    before = Bundle.load(copy).config
    (copy / MODEL_CARD).write_text("another text")
    renamed = write_config(copy, before.model_copy(update={"name": "other"}))
    assert Bundle.load(copy).config.space_id == renamed.space_id == before.space_id
    (copy / VOCABULARY).write_text((copy / VOCABULARY).read_text().replace("dog\n", "god\n", 1))
    assert write_config(copy, before).space_id != before.space_id


class KilledError(Exception):
    """Stands for a kill."""


class Killer:
    """Ends a run before, or in the middle of, what it does to files, when that has happened `moments` times."""

    def __init__(self, patch: pytest.MonkeyPatch, moments: int) -> None:
        self.left = moments
        replace, write_text, copyfile = Path.replace, Path.write_text, shutil.copyfile

        def killable_replace(path: Path, target: Path) -> None:
            self.happens()
            replace(path, target)

        def killable_write(path: Path, text: str, encoding: str) -> None:
            write_text(path, text[: len(text) // 2], encoding)
            self.happens()
            write_text(path, text, encoding)

        def killable_copy(source: Path, target: Path) -> None:
            target.write_bytes(source.read_bytes()[:100])
            self.happens()
            copyfile(source, target)

        patch.setattr(Path, "replace", killable_replace)
        patch.setattr(Path, "write_text", killable_write)
        patch.setattr(shutil, "copyfile", killable_copy)

    def happens(self) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1


@pytest.mark.parametrize("files", [(), (MODEL_CARD, "more.json")], ids=["configuration", "files"])
def test_a_kill_while_a_bundle_is_changed_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    (tmp_path / "from").mkdir()
    sources = [tmp_path / "from" / name for name in files]
    for source in sources:
        source.write_text("new text\n" * 50)
    kills, names = 0, []
    while True:
        bundle = write_bundle(tmp_path / f"bundle-{kills}")
        before = Bundle.load(bundle).config
        with pytest.MonkeyPatch.context() as patch:
            Killer(patch, kills)
            try:
                write_config(bundle, before.model_copy(update={"name": "new"}), sources)
            except KilledError:
                kills += 1
            else:
                break
        config = Bundle.load(bundle).config
        names.append(config.name)
        if config.name == before.name:
            assert config == before
        else:
            assert [(bundle / name).read_text() for name in files] == [source.read_text() for source in sources]
        # The next run finishes, whatever lies there.
        Bundle.load(bundle)
        write_config(bundle, before.model_copy(update={"name": "next"}), sources)
        assert Bundle.load(bundle).config.name == "next"
    assert names == sorted(names, reverse=True), "once new, it stays new"
    assert names.count(before.name) == 2 + 2 * len(files)
    assert names.count("new") == len(files)
    left = {path.name for path in bundle.iterdir()} - {CONFIG_FILE}
    assert left == set(Bundle.load(bundle).config.files), "nothing is left behind"


def test_a_change_that_cannot_be_completed_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    config = json.loads((bundle / CONFIG_FILE).read_text())
    (bundle / f"{MODEL_CARD}.new").write_text("new")
    _edit(bundle, files=config["files"] | {MODEL_CARD: file_digest(bundle / f"{MODEL_CARD}.new")})

    def read_only(path: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", read_only)
        with pytest.raises(BundleError, match="Rename it by hand"):
            Bundle.load(bundle)
    Bundle.load(bundle)
    assert (bundle / MODEL_CARD).read_text() == "new"


def test_weights_of_the_backbone_are_stored_once(copy: Path) -> None:
    # The graph reads its weights out of the safetensors file, so it stays small.
    assert (copy / "backbone.onnx").stat().st_size < 0.1 * (copy / BACKBONE_WEIGHTS).stat().st_size


def _of_version_4(bundle: Path) -> BundleConfig:
    """Take away what version 5 brought."""
    config = Bundle.load(bundle).config
    for name in ("projection", "words", "lstm", "captioner"):
        (bundle / f"{name}.onnx").unlink(missing_ok=True)
    return write_config(bundle, config)


def test_a_bundle_without_graphs_stays_one_of_version_4_and_says_how_to_convert_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    before = Bundle.load(bundle).config
    old = _of_version_4(bundle)
    assert (before.format_version, old.format_version) == (FORMAT_VERSION, 4)
    assert old.space_id == before.space_id
    with pytest.raises(BundleError, match=re.escape(f"visem train convert {bundle}")) as caught:
        JointSpace.load(bundle, device="cpu")
    assert caught.value.code == "bundle_unsupported"


def test_converting_the_shipped_bundle_adds_just_what_is_shipped(copy: Path) -> None:
    _of_version_4(copy)
    converted = add_graphs(copy, Bundle.load(copy).config)
    assert converted == Bundle.load().config
    assert Bundle.load(copy).config.files == Bundle.load().config.files
