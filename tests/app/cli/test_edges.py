"""The command line at its edges: closed and full outputs, odd options and odd lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli.options import read_filters, read_metadata
from app.settings import Settings
from tests.app.cli.conftest import Run, write_pictures

VISEM = [sys.executable, "-c", "from app.cli import main; main()"]
ROOT = Path(__file__).parents[3]


def shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = " ".join(f"'{word}'" for word in VISEM)
    return subprocess.run(  # noqa: S603
        ["bash", "-c", line.replace("visem", command)],  # noqa: S607
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("line", ["visem --version >&-", "visem --version >/dev/full", "visem info --json >/dev/full"])
def test_output_that_cannot_be_written_is_no_traceback(line: str, environment: dict[str, str]) -> None:
    outcome = shell(line, environment)
    assert "Traceback" not in outcome.stderr
    assert "Exception ignored" not in outcome.stderr
    if "/dev/full" in line:
        assert outcome.returncode == 1
        assert "No space left on device" in outcome.stderr


def test_usage_errors_are_a_document_where_one_was_asked_for(run: Run) -> None:
    for arguments in (("add", "--json"), ("search", "--nonsense", "--json"), ("info", "--json", "too", "many")):
        outcome = run(*arguments)
        assert outcome.status == 2
        assert outcome.document["error"]["code"] == "invalid_request"
        assert outcome.document["error"]["message"]
        assert run(*(one for one in arguments if one != "--json")).stdout == ""


def test_a_filter_that_is_given_twice_is_refused_as_http_does() -> None:
    with pytest.raises(Exception, match="tag is given more than once"):
        read_filters(["tag=b", "tag=a"])
    assert read_filters(["tag=b", "year=2024"]) == {"tag": "b", "year": "2024"}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_text(text: str) -> None:
    assert read_metadata([f"name={text}", "year=2024"]) == {"name": text, "year": 2024}


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VISEM_LIBRARY", "~/photos")
    assert Settings().library == tmp_path / "photos"
    assert Settings(library=Path("~/other"), bundle=Path("~/bundle")).bundle == tmp_path / "bundle"


def test_sentences_from_a_pipe(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a dog runs\na black cat\n",))
    writer.start()
    outcome = run("sentences", "add", "--file", pipe, "--json")
    writer.join()
    assert outcome.document["created"] == 2
    assert run("sentences", "add", "--file", tmp_path, "--json").status == 2


def test_a_bad_line_is_rejected_by_itself_and_with_its_number(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("a dog runs\n" + "long " * 16_000 + "\na black\0cat\n\na red car\n")
    outcome = run("sentences", "add", "--file", path, "--json")
    assert outcome.status == 1
    results = outcome.document["results"]
    assert [(one["line"], one["status"]) for one in results] == [
        (1, "created"),
        (2, "rejected"),
        (3, "rejected"),
        (5, "created"),
    ]
    assert "1000" in results[1]["reason"]
    assert "U+0000" in results[2]["reason"]
    assert len(json.dumps(results[1])) < 1_000
    assert "line 2" in run("sentences", "add", "--file", path).stderr


def test_info_says_what_is_wrong_with_a_library(run: Run, library: Path) -> None:
    library.mkdir()
    (library / "catalog.sqlite").write_bytes(b"damaged " * 1000)
    outcome = run("info")
    assert outcome.status == 1
    assert "none yet" not in outcome.stdout
    assert "cannot be opened" in outcome.stdout
    document = run("info", "--json").document
    assert document["library"]["error"]["code"]
    assert document["matching"] is None


def test_a_batch_that_the_disk_ends_is_a_document_with_numbers(environment: dict[str, str], tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 2)
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "z.png")
    assert (photos / "z.png").stat().st_size > 600 * 1024
    # No file may have more than 600 KiB: as far as the library is concerned, the disk is full then.
    outcome = shell(f"ulimit -f 600; visem add '{photos}' --json", environment)
    document = json.loads(outcome.stdout)
    assert outcome.returncode == 1
    assert document["error"]["code"] == "storage_failed"
    assert document["created"] == len(document["results"]) < 3
    assert "Traceback" not in outcome.stderr
