"""Folders in place on the command line: adding, listing, watching, and being interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.app.cli.conftest import Run, finish, leave_some, start, write_pictures
from tests.app.cli.test_processes import count_images
from tests.app.helpers import picture, stored


def wait_for(library: Path, process: subprocess.Popen[str], images: int) -> None:
    """Wait until a process has stored some images in place."""
    deadline = time.monotonic() + 300
    while stored(library) < images:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_adding_twice_pruning_and_forgetting(run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 4)
    (photos / "bad.jpg").write_bytes(b"no picture")
    first = run("add", "--in-place", photos, "--json")
    assert first.status == 1
    assert {name: first.document[name] for name in ("seen", "created", "refused", "interrupted")} == {
        "seen": 5, "created": 4, "refused": 1, "interrupted": False,
    }  # fmt: skip
    assert sorted(one["status"] for one in first.document["results"]) == ["created"] * 4 + ["refused"]
    assert list(library.glob("content/*/*")) == []
    (photos / "bad.jpg").unlink()
    (photos / "0000.jpg").unlink()
    second = run("add", "--in-place", photos, "--json")
    assert second.status == 0
    assert {name: second.document[name] for name in ("seen", "unchanged", "missing", "pruned")} == {
        "seen": 3, "unchanged": 3, "missing": 1, "pruned": 0,
    }  # fmt: skip
    assert second.document["results"] == []
    assert run("add", "--in-place", "--prune", photos, "--json").document["pruned"] == 1
    assert "3 files seen: 3 unchanged." in run("add", "--in-place", photos).stdout
    (listed,) = run("sources", "list", "--json").document["sources"]
    assert (listed["path"], listed["files"]) == (str(photos), {"present": 3})
    assert run("sources", "pause", photos, "--json").document["paused"]
    assert not run("sources", "resume", listed["id"], "--json").document["paused"]
    assert run("sources", "forget", photos, "--json").document == {"removed": 3}
    assert run("sources", "forget", photos).status == 1
    assert len(list(photos.iterdir())) == 3


def test_what_is_no_picture_is_counted_by_ending_and_what_is_left_out_is_named(run: Run, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 2)
    for name in ("notes.txt", "More.TXT", "plain"):
        (photos / name).write_text("hello")
    os.mkfifo(photos / "pipe.jpg")
    write_pictures(photos / "@eaDir", 1)
    document = run("add", "--in-place", photos, "--json").document
    assert {name: document[name] for name in ("seen", "created", "skipped", "refused")} == {
        "seen": 3, "created": 2, "skipped": 1, "refused": 0,
    }  # fmt: skip
    (source,) = document["sources"]
    assert source["passed_by"] == {".txt": 2, ".jpg": 1}
    assert [one["path"] for one in source["left_out"]] == [str(photos / "@eaDir")]
    outcome = run("add", "--in-place", photos)
    assert outcome.stdout == "3 files seen: 2 unchanged, 1 not images.\n"
    assert "Skipped, not images: 2 .txt, 1 .jpg." in outcome.stderr
    assert f"Left out {photos / '@eaDir'}: " in outcome.stderr


def test_a_folder_that_is_not_there_any_more(run: Run, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 3)
    assert run("add", "--in-place", photos).status == 0
    for path in photos.iterdir():
        path.rename(tmp_path / path.name)
    outcome = run("add", "--in-place", "--prune", photos, "--json")
    assert outcome.status == 1
    assert (outcome.document["missing"], outcome.document["pruned"]) == (0, 0)
    assert "where 3 photographs were" in outcome.document["sources"][0]["away"]
    assert len(run("search", "dog", "--json").document["hits"]) == 3


@pytest.mark.parametrize("what", ["a file", "the library"])
def test_what_cannot_be_in_place(run: Run, tmp_path: Path, library: Path, what: str) -> None:
    photos = write_pictures(tmp_path / "photos", 1)
    run("add", photos)
    outcome = run("add", "--in-place", photos / "0000.jpg" if what == "a file" else library, "--json")
    assert outcome.status == 2
    assert outcome.document["error"]["code"] == "source_refused"
    assert run("add", "--prune", photos).status == 2


@pytest.mark.parametrize(  # Ctrl-C while files are copied: see test_processes
    ("number", "in_place"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)]
)
def test_a_signal_ends_a_batch_with_numbers_that_add_up(
    environment: dict[str, str], run: Run, tmp_path: Path, library: Path, number: signal.Signals, in_place: bool
) -> None:
    photos = write_pictures(tmp_path / "photos", 400)
    options = ["--in-place"] if in_place else []
    process = start(environment, "add", *options, photos, "--json")
    wait_for(library, process, 20)
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.status == 130
    document = outcome.document
    assert document["interrupted"] is True
    assert document["created"] == len(document["results"]) == count_images(library)
    assert 0 < document["created"] < 400
    leave_some(photos, document["created"] + 20)
    again = run("add", *options, photos, "--json").document
    assert again["created"] == len(list(photos.iterdir())) - document["created"] <= 20


def test_killed_twice(environment: dict[str, str], run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 250)
    for part in (40, 100):
        process = start(environment, "add", "--in-place", photos)
        wait_for(library, process, part)
        process.kill()
        assert finish(process).status == -signal.SIGKILL
    before = count_images(library)
    document = run("add", "--in-place", photos, "--json").document
    assert (document["unchanged"], document["created"]) == (before, 250 - before)
    assert count_images(library) == 250


def test_a_signal_while_the_command_loads(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli import application

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.add.open_service", interrupt)
    result = CliRunner().invoke(application, ["add", str(tmp_path), "--json"])
    assert result.exit_code == 130
    assert json.loads(result.stdout)["error"]["code"] == "interrupted"


def test_captions_that_are_interrupted(environment: dict[str, str], tmp_path: Path, captioner_bundle: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 400)
    environment = {**environment, "VISEM_BUNDLE": str(captioner_bundle)}
    table = tmp_path / "captions.csv"
    process = start(environment, "caption", photos, "-n", "1", "--csv", table, "--json")
    deadline = time.monotonic() + 300
    while (not table.exists() or table.stat().st_size < 200) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    outcome = finish(process)
    assert outcome.status == 130
    document = outcome.document
    assert document["interrupted"] is True
    assert document["captioned"] == len(document["results"]) == len(table.read_text().splitlines()) - 1


def test_watching_a_folder_that_is_not_there(
    environment: dict[str, str], run: Run, tmp_path: Path, library: Path
) -> None:
    outcome = run("watch", tmp_path / "fotos")
    assert (outcome.status, "fotos does not exist" in outcome.stderr) == (2, True), outcome.stderr
    assert run("sources", "list", "--json").document["sources"] == []
    photos = write_pictures(tmp_path / "photos", 1)
    assert run("add", "--in-place", photos).status == 0
    photos.rename(tmp_path / "elsewhere")
    process = start(environment, "watch", photos)  # a source that is away may come back
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGINT)
    assert finish(process).status == 130


def test_watching(environment: dict[str, str], run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 3)
    process = start(environment, "watch", photos)
    wait_for(library, process, 3)
    (photos / "new.jpg").write_bytes(picture(99))
    wait_for(library, process, 4)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 130
    assert "3 new" in outcome.stderr
    assert count_images(library) == 4
