"""`visem evaluate` and `visem bench`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.app.cli.conftest import CAPTIONS, Run, write_pictures

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
    assert document["torch"] is None, "timm does not know the tiny backbone"
    assert document["cold_start_ms"].keys() == {"version", "search"}, "the tiny bundle has no captioner"
    assert all(figure > 0 for group in ("cold_start_ms", "service_mb") for figure in document[group].values())
    assert [search["size"] for search in document["search"]] == [20, 50]
    assert all(0 < search["median_ms"] <= search["p95_ms"] for search in document["search"])
    assert not library.exists()


def test_regularities(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ("evaluate", "regularities", "--data", _swappable(tmp_path / "set"), "--split", "dev")
    document = run(*arguments, "--html", page, "--json").document
    assert document["queries"] == document["attributes"]["queries"] > 0
    for report in (document, document["colours"], document["kinds"], document["dog-cat"]):
        for how in ("arithmetic", "image_only", "text_only"):
            assert report[how].keys() == {"success_at_1", "success_at_10", "keeping_the_rest"}
            assert 0 <= report[how]["success_at_1"] <= report[how]["success_at_10"] <= 100
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") >= 6
    assert "http" not in text
    outcome = run(*arguments)
    assert outcome.status == 0
    assert "keeping" not in outcome.stdout
    assert any(line.split("\t")[:2] == ["colours", "arithmetic"] for line in outcome.stdout.splitlines())


def _swappable(folder: Path) -> Path:
    """A set of which every split has dogs of two colours, and a cat."""
    captions = ["a black dog runs", "a white dog jumps", "a black cat", "a black dog in grass", "a white dog", "a cat"]
    write_pictures(folder / "Images", len(captions))
    lines = [f"{at:04}.jpg#0\t{caption}" for at, caption in enumerate(captions)]
    (folder / "Flickr8k.token.txt").write_text("".join(f"{line}\n" for line in lines))
    names = "".join(f"{at:04}.jpg\n" for at in range(len(captions)))
    for split in ("train", "dev", "test"):
        (folder / f"Flickr_8k.{split}Images.txt").write_text(names)
    return folder
