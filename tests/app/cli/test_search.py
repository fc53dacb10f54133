"""`visem search`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model.bundle import Bundle, CalibrationConfig, CalibrationCurve, write_config
from tests.app.cli.conftest import Run, write_pictures


@pytest.fixture
def photos(run: Run, tmp_path: Path) -> Path:
    """A folder of which all is in the library."""
    folder = write_pictures(tmp_path / "photos", 6)
    assert run("add", folder, "--metadata", "album=holiday").status == 0
    return folder


def test_by_words(run: Run, photos: Path) -> None:
    document = run("search", "a dog on the beach", "-k", "4", "--json").document
    assert document["query"] == "a dog on the beach"
    assert len(document["hits"]) == 4
    scores = [hit["score"] for hit in document["hits"]]
    assert scores == sorted(scores, reverse=True)
    for hit in document["hits"]:
        assert Path(hit["path"]).read_bytes() == (photos / hit["filename"]).read_bytes()


def test_words_need_no_quotes(run: Run, photos: Path) -> None:
    quoted = run("search", "red car - blue", "--json").document
    assert run("search", "red", "car", "-", "blue", "--json").document == quoted
    assert quoted["query"] == "red car - blue"


def test_by_picture(run: Run, photos: Path) -> None:
    hits = run("search", "--image", photos / "0003.jpg", "--json").document["hits"]
    assert hits[0]["filename"] == "0003.jpg"
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("expression", ["- blue + red", "- black", "+ red", "-  k - k"])
def test_an_expression_may_begin_with_an_operator(run: Run, photos: Path, expression: str) -> None:
    outcome = run("search", expression, "--image", photos / "0003.jpg", "--json")
    if "k - k" in expression:
        assert outcome.document["error"]["code"] == "no_known_words"
    else:
        assert outcome.document["query"] == expression.removeprefix("+ ")


def test_a_picture_of_the_library(run: Run, photos: Path) -> None:
    first = run("search", "dog", "-k", "1", "--json").document["hits"][0]
    hits = run("search", f"image:{first['id']}", "--json").document["hits"]
    assert len(hits) == 5
    assert first["id"] not in [hit["id"] for hit in hits]


def test_for_people(run: Run, photos: Path) -> None:
    outcome = run("search", "dog zyzzyva", "-k", "2")
    assert outcome.status == 0
    rows = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert len(rows) == 2
    assert all(len(row) == 4 and Path(row[3]).is_file() for row in rows)
    assert "zyzzyva" in outcome.stderr


def test_filters_scores_and_pages(run: Run, photos: Path) -> None:
    assert run("search", "dog", "--filter", "album=other", "--json").document["hits"] == []
    assert len(run("search", "dog", "--filter", "album=holiday", "--json").document["hits"]) == 6
    outcome = run("search", "dog", "--min-score", "1")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "No images found.\n")
    page = run("search", "dog", "-k", "4", "--json").document
    rest = run("search", "dog", "-k", "4", "--cursor", page["next_cursor"], "--json").document
    assert len(rest["hits"]) == 2
    assert rest["next_cursor"] is None


def test_sentences(run: Run, photos: Path) -> None:
    run("sentences", "add", "a dog runs", "a black cat")
    document = run("search", "a black cat", "--target", "sentences", "--json").document
    assert document["hits"][0]["text"] == "a black cat"
    outcome = run("search", "--image", photos / "0001.jpg", "--target", "sentences")
    assert {line.split("\t")[2] for line in outcome.stdout.splitlines()} == {"a dog runs", "a black cat"}


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("dog + + cat", "invalid_query"),
        ("dog - dog", "degenerate_query"),
        ("zyzzyva", "no_known_words"),
        ("image:gone", "record_not_found"),
    ],
)
def test_bad_expressions(run: Run, photos: Path, expression: str, code: str) -> None:
    outcome = run("search", expression, "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == code
    assert len(outcome.stderr.splitlines()) == 1


def test_no_picture(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    outcome = run("search", "--image", tmp_path / "notes.txt")
    assert outcome.status == 1
    assert len(outcome.stderr.splitlines()) == 1


def test_options_of_a_search(run: Run, photos: Path) -> None:
    hits = run("search", "dog - cat", "--explain", "--json").document["hits"]
    for hit in hits:
        assert sum(one["contribution"] for one in hit["explanation"]) == pytest.approx(hit["score"], abs=2e-3)
    word = hits[0]["concepts"][0]["word"]
    found = run("search", "dog", "--concept", word, "-k", "50", "--json").document["hits"]
    assert found
    assert all(word in [concept["word"] for concept in hit["concepts"]] for hit in found)
    printed = run("search", "dog - cat", "-k", "1", "--explain").stdout
    assert " dog  " in printed
    named = f"image:{hits[0]['id']}"
    assert hits[0]["id"] not in [hit["id"] for hit in run("search", named, "--json").document["hits"]]
    included = run("search", named, "--include-query-items", "--json").document["hits"]
    assert included[0]["id"] == hits[0]["id"]


def test_confidence_of_a_bundle_with_a_calibration(run: Run, photos: Path, bundles: list[Path], tmp_path: Path) -> None:
    for option in (("--min-confidence", "0.5"), ("--all",)):
        outcome = run("search", "dog + cat", *option, "--json")
        assert outcome.document["error"]["code"] == "calibration_missing"
    bundle = tmp_path / "calibrated"
    shutil.copytree(bundles[0], bundle)
    config = Bundle.load(bundle).config
    curve = CalibrationCurve(slope=5, intercept=-2)
    calibration = CalibrationConfig(curves={"sentence_to_images": curve}, errors={}, fitted_on="made up")
    write_config(bundle, config.model_copy(update={"calibration": calibration}))
    rows = run("search", "a dog", "--bundle", bundle, "-k", "2").stdout.splitlines()
    assert all(0 < float(row.split("\t")[4]) < 1 for row in rows)
    assert len(run("search", "dog + cat", "--all", "--bundle", bundle, "--json").document["hits"]) == 6
    outcome = run("search", "a dog", "--min-confidence", "0.999", "--bundle", bundle)
    assert outcome.stdout == ""
    assert "Nothing here matches" in outcome.stderr
