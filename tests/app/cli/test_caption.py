"""`visem caption`, and what else the command line does with captions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from model.bundle import Bundle
from model.training.presets import PRESETS
from tests.app.cli.conftest import CAPTIONS, KeptRun, Run, write_pictures
from tests.captioning import SMALL
from tests.tiny import write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 3)


def test_folders_to_the_terminal_and_as_json(run: Run, folder: Path, captioner_bundle: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"junk")
    outcome = run("caption", folder, "--bundle", captioner_bundle, "-n", "2")
    assert outcome.status == 1
    assert "broken.jpg" in outcome.stderr
    assert len(outcome.stdout.splitlines()) == 3 * 3
    outcome = run("caption", folder, "--bundle", captioner_bundle, "-n", "2", "--json")
    results = {Path(one["path"]).name: one for one in outcome.document["results"]}
    assert results["broken.jpg"]["code"] == "image_unreadable"
    assert [len(results[f"{number:04}.jpg"]["captions"]) for number in range(3)] == [2, 2, 2]
    assert (outcome.document["captioned"], outcome.document["rejected"]) == (3, 1)


def test_tables_and_sidecars(run: Run, folder: Path, captioner_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    outcome = run("caption", folder, "--bundle", captioner_bundle, "-n", "2", "--csv", table, "--sidecar")
    assert outcome.status == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert (folder / "0000.jpg.alt.txt").read_text() == rows[0]["sentence"] + "\n"
    assert 0 <= float(rows[0]["confidence"]) <= 1


def test_structure_and_sampling(run: Run, folder: Path, captioner_bundle: Path) -> None:
    picture = folder / "0000.jpg"
    base = ("caption", picture, "--bundle", captioner_bundle, "--json")
    shaped = run(*base, "--structure", "a cat with green eyes").document["results"][0]["captions"]
    assert shaped
    assert all(one["structure"] == shaped[0]["structure"] for one in shaped)
    sampled = run(*base, "--strategy", "sample", "--seed", "1").document
    assert sampled == run(*base, "--strategy", "sample", "--seed", "1").document
    outcome = run(*base, "--structure", "?!")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "empty_text"


def test_a_bundle_without_a_captioner(run: Run, folder: Path) -> None:
    outcome = run("caption", folder, "--mode", "generate", "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "captioner_missing"


def test_captions_of_new_images(run: Run, folder: Path, captioner_bundle: Path) -> None:
    outcome = run("add", folder, "--bundle", captioner_bundle, "--captions", "1")
    assert outcome.status == 0, outcome.stderr
    found = run("search", "a dog", "--bundle", captioner_bundle, "--target", "sentences", "--json")
    assert found.document["hits"]
    for hit in run("search", "a dog", "--bundle", captioner_bundle, "--json", "-k", "100").document["hits"]:
        assert run("remove", hit["id"]).status == 0
    assert run("sentences", "list", "--json").document["total"] == 0, "captions go with their images"


def test_training_and_measuring(run: Run, kept_run: KeptRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SMALL.model_copy(update={"epochs": 2, "reward_steps": 0})
    monkeypatch.setitem(PRESETS, "default", PRESETS["default"].model_copy(update={"captioner": small}))

    def arguments(folder: Path) -> tuple[str | Path, ...]:
        model = write_bundle(folder / "bundle", (CAPTIONS / "Flickr8k.token.txt").read_text())
        return ("train", "captioner", "--data", CAPTIONS, "--model", model, "--seed", "3", "--json")

    bundle = kept_run("train-captioner", arguments)[0] / "bundle"
    section = Bundle.load(bundle).config.captioner
    assert section is not None
    assert section.training["seed"] == 3
    assert "## Captions" in (bundle / "MODEL_CARD.md").read_text()
    outcome = run("evaluate", "captions", "--data", CAPTIONS, "--split", "test", "--model", bundle, "--json")
    assert outcome.status == 0, outcome.stderr
    keys = {"bleu1", "bleu2", "bleu3", "bleu4", "cider", "rouge_l", "distinct1", "distinct2", "in_training_set"}
    assert keys <= outcome.document.keys()
    table = tmp_path / "table.md"
    outcome = run("evaluate", "captions", "--data", CAPTIONS, "--split", "test", "--model", bundle, "--table", table)
    assert len(table.read_text().splitlines()) == 2 + 2
    assert "written" in outcome.stdout
    assert "nearest caption" in outcome.stdout


def test_captions_of_the_library(run: Run, folder: Path, tmp_path: Path) -> None:
    run("add", folder)
    run("sentences", "add", "a dog runs", "a black cat", "a red car")
    (tmp_path / "bad.jpg").write_bytes(b"junk")
    outcome = run("caption", folder / "0001.jpg", tmp_path / "bad.jpg", "-n", "2", "--json")
    assert outcome.status == 1
    good, bad = outcome.document["results"]
    assert good["mode"] == "retrieve"
    assert len(good["captions"]) == 2
    assert good["captions"][0]["score"] >= good["captions"][1]["score"]
    assert (bad["path"], bad["code"], bad["captions"]) == (str(tmp_path / "bad.jpg"), "image_unreadable", [])
    outcome = run("caption", folder / "0001.jpg")
    assert outcome.status == 0
    assert [line.split("\t")[1] for line in outcome.stdout.splitlines()][:2] == [
        caption["text"] for caption in good["captions"]
    ]


def test_captions_need_sentences(run: Run, folder: Path) -> None:
    run("add", folder)
    outcome = run("caption", folder / "0001.jpg")
    assert outcome.status == 0
    assert outcome.stdout == ""
    assert "visem sentences add" in outcome.stderr
