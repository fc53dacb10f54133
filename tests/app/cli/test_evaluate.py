"""`visem evaluate` and `visem bench`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.app.cli.conftest import CAPTIONS, Run

KEYS = {"r1", "r5", "r10", "median_rank"}


@pytest.mark.parametrize("encoder", [[], ["--encoder", "bag"], ["--encoder", "lstm"], ["--encoder", "mean"]])
def test_retrieval(run: Run, encoder: list[str]) -> None:
    document = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "train", "--json", *encoder).document
    assert document.keys() == {"image_to_sentence", "sentence_to_image"}
    for scores in document.values():
        assert scores.keys() == KEYS
        assert 0 <= scores["r1"] <= scores["r5"] <= scores["r10"] <= 100
        assert scores["median_rank"] >= 1


def test_models_differ(run: Run, bundles: list[Path]) -> None:
    arguments = ["evaluate", "retrieval", "--data", CAPTIONS, "--split", "train", "--json"]
    first, second = (run(*arguments, "--model", bundle).document for bundle in bundles)
    assert first != second


def test_for_people(run: Run) -> None:
    outcome = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "test")
    assert outcome.status == 0
    assert [line.split("\t")[0] for line in outcome.stdout.splitlines()] == [
        "image to sentence",
        "sentence to image",
    ]
    assert "flickr8k test" in outcome.stderr


def test_missing_pictures_are_mentioned(run: Run, tmp_path: Path) -> None:
    for path in CAPTIONS.glob("*.txt"):
        shutil.copy(path, tmp_path)
    (tmp_path / "Images").mkdir()
    present = sorted((CAPTIONS / "Images").glob("*.jpg"))
    for path in present[:-1]:
        shutil.copy(path, tmp_path / "Images")
    statuses = [
        run("evaluate", "retrieval", "--data", tmp_path, "--split", split) for split in ("train", "dev", "test")
    ]
    assert sum("left out" in outcome.stderr or outcome.status == 1 for outcome in statuses) == 1


def test_bad_data(run: Run, tmp_path: Path) -> None:
    outcome = run("evaluate", "retrieval", "--data", tmp_path, "--split", "test", "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "dataset_missing"
    outcome = run("evaluate", "retrieval", "--data", CAPTIONS, "--split", "nope", "--json")
    assert outcome.document["error"]["code"] == "dataset_split_unknown"


def test_bench(run: Run, library: Path) -> None:
    document = run("bench", "--images", "16", "--sizes", "50,20", "--json").document
    for key in ("text_query_ms", "image_ms", "image_in_batch_ms", "ingest_images_per_second"):
        assert document[key] > 0
    assert [search["size"] for search in document["search"]] == [20, 50]
    assert all(0 < search["median_ms"] <= search["p95_ms"] for search in document["search"])
    assert not library.exists()
