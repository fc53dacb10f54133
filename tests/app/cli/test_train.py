"""`visem train`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from model.bundle import MODEL_CARD, Bundle
from model.training.captioner import config as captioner_config
from model.training.space.config import PRESETS, SpaceTraining, Stage
from tests.app.cli.conftest import CAPTIONS, Run
from tests.captioning import SMALL as SMALL_CAPTIONER

SMALL = SpaceTraining(
    backbone="tf_efficientnet_lite0",
    image_size=64,
    dimension=16,
    minimum_count=1,
    words=1,  # all that have to be known, and no more
    kinds=False,
    lstm_dimension=None,
    stages=(Stage(name="bag", epochs=2, batch_images=3, captions_per_image=2, encoders=("bag",), learning_rate=0.01),),
)


def test_a_bundle_of_ones_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "default", SMALL)
    out = tmp_path / "bundle"
    arguments = ("train", "space", "--data", CAPTIONS, "--out", out, "--seed", "3")
    outcome = run(*arguments, "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.document.keys() == {"bundle", "image_to_sentence", "sentence_to_image"}
    assert "Stage: bag" in outcome.stderr
    assert Bundle.load(out).config.recipe["seed"] == 3
    outcome = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "test", "--model", out, "--json")
    assert outcome.status == 0
    outcome = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "test", "--model", out, "--encoder", "lstm")
    assert outcome.status == 2
    assert "--encoder bag" in outcome.stderr
    outcome = run(*arguments)
    assert outcome.status == 2, "it would replace the bundle"
    assert "--overwrite" in outcome.stderr
    outcome = run(*arguments, "--overwrite")
    assert outcome.status == 0
    assert "recall sum" in outcome.stdout


def test_the_whole_bundle_by_one_command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "default", SMALL)
    quick = SMALL_CAPTIONER.model_copy(update={"epochs": 2, "reward_steps": 0})
    monkeypatch.setattr(captioner_config, "CaptionerTraining", lambda: quick)
    work = tmp_path / "runs"
    out = work / "bundle"  # nothing that is trained may be lost for lying among the working files
    outcome = run("train", "bundle", "--data", CAPTIONS, "--out", out, "--work", work, "--json")
    assert outcome.status == 0, outcome.stderr
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


def test_chances_and_the_rule_of_arithmetic_are_fitted_later(run: Run, bundles: list[Path], tmp_path: Path) -> None:
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
