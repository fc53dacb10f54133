"""`visem train`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from model.bundle import MODEL_CARD, Bundle, file_digest, shipped_bundle
from model.training.presets import PRESETS, Preset
from model.training.space.config import SpaceTraining, Stage
from tests.app.cli.conftest import CAPTIONS, KeptRun, Run
from tests.captioning import SMALL as SMALL_CAPTIONER
from tests.model.training.networks import write_weights

SMALL = SpaceTraining(
    preset="default",
    backbone="test_efficientnet",
    image_size=64,
    dimension=16,
    minimum_count=1,
    words=1,  # all that have to be known, and no more
    kinds=False,
    lstm_dimension=None,
    stages=(Stage(name="bag", epochs=2, batch_images=3, captions_per_image=2, encoders=("bag",), learning_rate=0.01),),
)


def test_a_bundle_of_ones_own(run: Run, kept_run: KeptRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "default", Preset(space=SMALL, captioner=SMALL_CAPTIONER))
    train = ("train", "space", "--data", CAPTIONS, "--seed", "3")

    def arguments(folder: Path) -> tuple[str | Path, ...]:
        weights = write_weights(SMALL.backbone, folder)
        return (*train, "--out", folder / "bundle", "--work", folder / "work", "--backbone-weights", weights, "--json")

    folder, outcome = kept_run("train-space", arguments)
    assert outcome.document.keys() == {"bundle", "image_to_sentence", "sentence_to_image"}
    assert "Stage: bag" in outcome.stderr
    trained = folder / "bundle"
    assert Bundle.load(trained).config.recipe["seed"] == 3
    outcome = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "test", "--model", trained, "--json")
    assert outcome.status == 0
    outcome = run(
        "evaluate", "retrieval", "--data", CAPTIONS, "--split", "test", "--model", trained, "--encoder", "lstm"
    )
    assert outcome.status == 2
    assert "--encoder bag" in outcome.stderr
    out = shutil.copytree(trained, tmp_path / "bundle")
    outcome = run(*train, "--out", out)
    assert outcome.status == 2, "it would replace the bundle"
    assert "--overwrite" in outcome.stderr


def test_a_bundle_is_replaced_where_that_is_wanted(
    bundles: list[Path], kept_run: KeptRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "default", Preset(space=SMALL, captioner=SMALL_CAPTIONER))

    def arguments(folder: Path) -> tuple[str | Path, ...]:
        out = shutil.copytree(bundles[0], folder / "bundle")
        weights = write_weights(SMALL.backbone, folder)
        return ("train", "space", "--data", CAPTIONS, "--out", out, "--backbone-weights", weights, "--overwrite")

    folder, outcome = kept_run("train-space-overwrite", arguments)
    assert Bundle.load(folder / "bundle").config.dimension == SMALL.dimension
    assert "recall sum" in outcome.stdout


def test_the_whole_bundle_by_one_command(run: Run, kept_run: KeptRun, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = SMALL_CAPTIONER.model_copy(update={"epochs": 2, "reward_steps": 0})
    monkeypatch.setitem(PRESETS, "default", Preset(space=SMALL, captioner=quick))

    def arguments(work: Path) -> tuple[str | Path, ...]:
        out = work / "bundle"  # nothing that is trained may be lost for lying among the working files
        weights = write_weights(SMALL.backbone, work)
        train = ("train", "bundle", "--data", CAPTIONS, "--out", out, "--work", work)
        return (*train, "--backbone-weights", weights, "--json")

    work, outcome = kept_run("train-bundle", arguments)
    out = work / "bundle"
    assert outcome.document.keys() == {"bundle", "image_to_sentence", "sentence_to_image", "captions"}
    assert not (work / "bundle.unfinished").exists()
    config = Bundle.load(out).config
    assert config.captioner is not None
    assert config.recipe["seed"] == config.captioner.training["seed"] == 7
    card = (out / MODEL_CARD).read_text()
    assert "visem train space" in card
    assert "visem train captioner" in card
    again = run("train", "bundle", "--data", CAPTIONS, "--out", out)
    assert again.status == 2, "it would replace the bundle"
    assert "--overwrite" in again.stderr


def test_the_papers_whole_system(run: Run, kept_run: KeptRun) -> None:
    """With a tiny network in place of VGG19: its weights come from a file as VGG19's do."""

    def arguments(folder: Path) -> tuple[str | Path, ...]:
        chosen = ("--backbone", "test_resnet", "--backbone-weights", write_weights("test_resnet", folder))
        out = folder / "bundle"
        return ("train", "bundle", "--preset", "paper", *chosen, "--data", CAPTIONS, "--out", out, "--json")

    folder, _ = kept_run("train-paper", arguments)
    out = folder / "bundle"
    weights = folder / "test_resnet.safetensors"
    config = Bundle.load(out).config
    assert config.recipe["loss"] == "ranking"
    assert config.text.encoders == ("lstm",)
    assert config.recipe["backbone_weights"] == {"file": weights.name, "sha256": file_digest(weights)}
    assert config.captioner is not None
    assert config.captioner.network.context == "log-bilinear"
    assert config.captioner.training["image_share"] == 0
    card = (out / MODEL_CARD).read_text()
    assert "--preset paper --backbone test_resnet --backbone-weights test_resnet.safetensors" in card
    assert "train captioner --data DIR --preset paper" in card
    found = run("caption", CAPTIONS / "Images" / "cat.jpg", "--bundle", out, "--json")
    assert found.status == 0, found.stderr


def test_the_papers_network_is_never_without_its_weights(run: Run, tmp_path: Path) -> None:
    arguments = ("train", "bundle", "--preset", "paper", "--data", CAPTIONS, "--out", tmp_path / "bundle", "--json")
    outcome = run(*arguments)
    assert outcome.status == 1
    error = outcome.document["error"]
    assert error["code"] == "backbone_weights"
    assert "vgg19" in error["message"]
    assert "--backbone-weights FILE" in error["message"]
    junk = tmp_path / "vgg19.pth"
    junk.write_bytes(b"junk")
    outcome = run(*arguments, "--backbone-weights", junk)
    assert outcome.document["error"]["code"] == "backbone_weights"
    assert "vgg19.pth" in outcome.document["error"]["message"]


def test_an_image_tower_in_the_backbones_place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "default", Preset(space=SMALL, captioner=SMALL_CAPTIONER))
    arguments = (
        "train",
        "space",
        "--data",
        CAPTIONS,
        "--out",
        tmp_path / "bundle",
        "--image-tower",
        tmp_path / "tower",
    )
    (tmp_path / "tower").mkdir()
    outcome = run(*arguments, "--backbone", "vgg19", "--json")
    assert outcome.status == 2
    assert "not both" in outcome.document["error"]["message"]
    outcome = run(*arguments, "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "import_failed"
    assert "Download the whole model" in outcome.document["error"]["message"]
    assert not (tmp_path / "bundle").exists()


def test_every_preset_can_be_asked_for(run: Run) -> None:
    for command in ("space", "bundle", "captioner"):
        assert f"<{'|'.join(PRESETS)}>" in run("train", command, "--help").stdout


@pytest.mark.parametrize("command", [("bundle", "--out"), ("captioner", "--model")])
def test_what_a_captioner_needs_is_missed_before_anything_is_trained(
    run: Run, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    model = tmp_path / "bundle" if command[0] == "bundle" else bundles[0]
    work = tmp_path / "work"
    outcome = run("train", command[0], "--data", CAPTIONS, command[1], model, "--work", work, "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "training_unavailable"
    assert not work.exists()


def test_calibration_and_the_rule_of_arithmetic_are_fitted_later(run: Run, bundles: list[Path], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(bundles[0], bundle)
    before = Bundle.load(bundle).config
    missing = run("evaluate", "calibration", "--data", CAPTIONS, "--split", "dev", "--model", bundle, "--json")
    assert missing.document["error"]["code"] == "calibration_missing"

    dev_alone = tmp_path / "captions"
    shutil.copytree(CAPTIONS, dev_alone)
    (dev_alone / "Flickr_8k.trainImages.txt").unlink()
    outcome = run("train", "calibration", "--data", dev_alone, "--model", bundle, "--json")
    assert outcome.status == 0, outcome.stderr
    after = Bundle.load(bundle).config
    assert after.calibration is not None
    assert outcome.document["calibration_error"] == after.calibration.errors
    assert after.composition == before.composition

    outcome = run("train", "composition", "--data", CAPTIONS, "--model", bundle)
    assert outcome.status == 0, outcome.stderr
    assert Bundle.load(bundle).config.space_id == before.space_id, "no vector changes"

    plot = tmp_path / "plot.svg"
    arguments = ("evaluate", "calibration", "--data", CAPTIONS, "--split", "dev", "--model", bundle, "--plot", plot)
    assert run(*arguments).status == 0
    assert plot.read_text().startswith("<svg")


def test_detectors_of_concepts_are_fitted_later(
    run: Run, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    before = Bundle.load(bundle).config
    assert before.concepts is not None
    assert before.captioner is not None
    few = run("train", "concepts", "--data", CAPTIONS, "--model", bundle, "--json")
    assert few.document["error"]["code"] == "dataset_empty"
    assert Bundle.load(bundle).config == before

    monkeypatch.setattr("model.training.fitting.concepts.FEWEST", 2)
    outcome = run("train", "concepts", "--data", CAPTIONS, "--model", bundle, "--json")
    assert outcome.status == 0, outcome.stderr
    after = Bundle.load(bundle).config
    assert after.space_id == before.space_id, "no vector changes"
    assert after.concepts is not None
    assert outcome.document["words"] == len(after.concepts.words) != len(before.concepts.words)
    assert after.captioner is not None
    assert after.captioner.quality["flickr8k-dev"] == outcome.document["captions"]
    assert after.captioner.quality != before.captioner.quality

    nameless = run("train", "concepts", "--data", CAPTIONS, "--model", bundles[0], "--json")
    assert nameless.document["error"]["code"] == "training_unavailable"


def test_what_is_no_bundle_is_never_replaced(run: Run, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    outcome = run("train", "space", "--data", CAPTIONS, "--out", tmp_path, "--overwrite")
    assert outcome.status == 2
    assert precious.exists()


def test_a_backbone_that_nobody_knows(run: Run, tmp_path: Path) -> None:
    arguments = ("train", "space", "--data", CAPTIONS, "--out", tmp_path / "bundle", "--backbone", "nope", "--json")
    outcome = run(*arguments)
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "backbone_weights"
    assert not (tmp_path / "bundle").exists()
