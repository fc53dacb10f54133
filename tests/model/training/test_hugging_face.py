"""CLIP and SigLIP of transformers, imported: their vectors against those of transformers itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.space import JointSpace, space_on
from tests.clip import write_clip_folder, write_siglip_folder
from tests.conftest import KeptBundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global ImportingError, TEXTS, TorchRuntime, read_hugging_face, sample_pictures, torch, write_imported
    import torch

    from model.runtime.torch_runtime import TorchRuntime
    from model.training.importing.hugging_face import read_hugging_face
    from model.training.importing.parity import sample_pictures
    from model.training.importing.source import ImportingError
    from model.training.importing.writing import TEXTS, write_imported


WRITERS: dict[str, Callable[[Path], Path]] = {"clip": write_clip_folder, "siglip": write_siglip_folder}


def write(folder: Path, kind: str) -> Path:
    """A model in `folder`, and the bundle that it becomes."""
    write_imported(read_hugging_face(WRITERS[kind](folder / kind)), folder / "bundle")
    return folder


@pytest.fixture(scope="module", params=list(WRITERS))
def folder(request: pytest.FixtureRequest, kept_bundle: KeptBundle) -> Path:
    return kept_bundle(f"hugging-face-{request.param}", write, request.param) / str(request.param)


def test_vectors_are_those_of_transformers(folder: Path) -> None:
    source = read_hugging_face(folder)
    space = JointSpace.load(folder.with_name("bundle"), device="cpu")
    assert space.config.name == folder.name
    cosines = space.config.recipe["cosines"]
    assert min(cosines["image"]["fp32"], cosines["text"]["fp32"]) > 0.99999
    with torch.inference_mode():
        tokens = source.text.reference(TEXTS)
        texts = torch.nn.functional.normalize(source.text.whole(tokens)).numpy()
        images = torch.nn.functional.normalize(source.image.whole(source.image.reference(sample_pictures()))).numpy()
    for one in (space, space_on(space.bundle, TorchRuntime("cpu"))):
        assert (one.embed_texts(TEXTS) * texts).sum(axis=1).min() > 0.9999
        assert (one.embed_images(sample_pictures()) * images).sum(axis=1).min() > 0.9999
    upper, lower = space.embed_texts(["A DOG, runs", "a dog, runs"])
    assert np.allclose(upper, lower)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "Download the whole model"),
        ("model.safetensors", "There are no weights"),
        ("preprocessor_config.json", "Download the whole model"),
        ("tokenizer.json", r"There is no tokenizer\.json"),
    ],
)
def test_a_file_that_is_missing_or_junk(folder: Path, tmp_path: Path, file: str, said: str) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    (other / file).unlink()
    with pytest.raises(ImportingError, match=said) as missing:
        read_hugging_face(other)
    (other / file).write_bytes(b"junk")
    with pytest.raises(ImportingError, match="again") as junk:
        read_hugging_face(other)
    for error in (missing, junk):
        assert "\n" not in str(error.value)
        assert str(other) in str(error.value)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("preprocessor_config.json", {"image_mean": "grey"}),
        ("preprocessor_config.json", {"size": {"shortest_edge": -3}}),
        ("preprocessor_config.json", {"size": "huge"}),
        ("preprocessor_config.json", {"resample": 99}),
        ("preprocessor_config.json", {"image_processor": [1]}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "evil.Evil"}, "image_processor_type": "Evil"}),
        ("config.json", {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}}),
        ("config.json", {"vision_config": {"image_size": "large"}}),
        ("config.json", {"text_config": [1]}),
        ("tokenizer_config.json", {"pad_token": {"no": "content"}}),
        ("tokenizer_config.json", {"pad_token": 7}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "evil.Evil"}, "tokenizer_class": "Evil"}),
    ],
)
def test_settings_that_make_no_sense(folder: Path, tmp_path: Path, file: str, settings: dict[str, object]) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    changed = json.loads((other / file).read_text()) | settings
    (other / file).write_text(json.dumps(changed))
    (other / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    try:
        read_hugging_face(other)
    except ImportingError as error:
        assert "\n" not in str(error)  # noqa: PT017 - some of it is nonsense that does no harm
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_configuration(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    settings = json.loads((other / "config.json").read_text())
    settings["vision_config"]["num_hidden_layers"] = 3
    (other / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ImportingError, match="not those of its config"):
        read_hugging_face(other)
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ImportingError, match="'bert'"):
        read_hugging_face(other)


def test_a_tokenizer_of_another_model(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    foreign = WRITERS["siglip" if folder.name == "clip" else "clip"](tmp_path / "foreign")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(foreign / name, other)
    with pytest.raises(ImportingError, match=r"of another model\. Download both from one place"):
        write_imported(read_hugging_face(other), tmp_path / "bundle")
    assert not list(tmp_path.glob("bundle*"))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs(folder: Path, tmp_path: Path, file: str) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    (other / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605157884\n")
    with pytest.raises(ImportingError, match=rf"{file} is a pointer of Git LFS.*git lfs pull"):
        read_hugging_face(other)


def test_images_of_another_size_than_the_network_takes(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    file = other / "preprocessor_config.json"
    file.write_text(file.read_text().replace("32", "48"))
    with pytest.raises(ImportingError, match=r"prepares images of 48 x 48 pixels, and its config\.json takes 32 x 32"):
        read_hugging_face(other)


def test_a_checkpoint_that_would_run_code(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "model")
    (other / "model.safetensors").unlink()
    torch.save({"logit_scale": torch.zeros(1), "more": _Touches(tmp_path / "ran")}, other / "pytorch_model.bin")
    with pytest.raises(ImportingError, match=r"without running code from it\. Download the model's model\.safetensors"):
        read_hugging_face(other)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_may_not_be_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # whoever runs the tests as root may read everything
    with pytest.raises(ImportingError, match=r"config\.json may not be read\. Change its permissions"):
        read_hugging_face(folder)


class _Touches:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._file,)
