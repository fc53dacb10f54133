"""Exports and imports that are interrupted, and go on when they are repeated."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from index import LibraryConfig, NewImage, Space, open_library
from index.moving import exporting
from index.moving.exporting import Exported
from index.moving.files import export_library, import_library, unfinished_files
from tests.index.moving.conftest import ALL, everything

pytestmark = pytest.mark.usefixtures("small_parts")

Start = Callable[..., subprocess.Popen[str]]


def no_thumbnail(content: bytes) -> bytes:
    raise ValueError("nothing can be rendered here")


def interrupted(config: LibraryConfig, target: Path, at: int = 30, **options: Any) -> list[Path]:
    """Begin an export and end it at a number of records; what it leaves."""

    def stop(done: int, total: int) -> None:
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_library(config, target, progress=stop, **options)
    assert not target.exists()
    return unfinished_files(target)


def imported(file: Path) -> dict[str, Any]:
    """All that there is in a new library that takes over an archive."""
    config = LibraryConfig(file.with_name(f"{file.name}.library"))
    assert import_library(config, file, render=no_thumbnail).problems == []
    return everything(config)


def killed(start_worker: Start, *arguments: object) -> None:
    worker = start_worker(*arguments)
    assert worker.wait(60) == -signal.SIGKILL


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images whose files an export in this process has read."""
    found: list[str] = []
    read = exporting.Exporting._read

    def noted(self: Any, image: Any) -> Any:
        found.append(image.id)
        return read(self, image)

    monkeypatch.setattr(exporting.Exporting, "_read", noted)
    return found


def test_a_killed_export_goes_on_and_reads_no_file_twice(
    stocked: LibraryConfig, tmp_path: Path, start_worker: Start, asked: list[str]
) -> None:
    file = tmp_path / "file.tar"
    for at in (1, 30):  # after its first part, and after another two
        killed(start_worker, stocked.folder, "export", file, at)
        assert not file.exists()
    told: list[datetime] = []
    exported = export_library(stocked, file, resuming=told.append)
    assert told == [exported.begun]
    assert exported.resumed >= 24
    assert len(asked) <= ALL - 24
    assert exported.counts.images == ALL
    assert [path.name for path in tmp_path.glob("file.tar*")] == ["file.tar"]
    assert imported(file) == everything(stocked)


def test_a_killed_import_goes_on(stocked: LibraryConfig, tmp_path: Path, start_worker: Start, space: Space) -> None:
    export_library(stocked, tmp_path / "file.tar")
    new = LibraryConfig(tmp_path / "new")
    for at in (12, 36, 60):  # among images, at their end, among sentences
        killed(start_worker, new.folder, "import", tmp_path / "file.tar", at)
        with open_library(new, space) as library:
            assert library.check(deep=True) == []
    taken = import_library(new, tmp_path / "file.tar", render=no_thumbnail).taken
    assert (taken.images.known, taken.images.total) == (ALL, ALL)
    assert everything(new) == everything(stocked)


def test_it_is_of_the_first_moment_whatever_happens_between_the_runs(
    stocked: LibraryConfig, space: Space, image: Callable[..., NewImage], tmp_path: Path
) -> None:
    """What comes is not in it, what changes is as it was, and what goes is left out where it was not yet written."""
    file = tmp_path / "file.tar"
    interrupted(stocked, file, at=12)
    before = everything(stocked)
    with open_library(stocked, space) as library:
        ids = [record.id for record in library.list_images(limit=1000).items[::-1]]
        library.add_images([image(1000)])
        library.update_image(ids[2], lambda record: {"changed": True})
        library.update_image(ids[30], lambda record: {"changed": True})
        library.delete_images([ids[4], ids[31], ids[32]])
    exported = export_library(stocked, file)
    assert (exported.deleted, exported.problems, exported.counts.images) == (2, [], ALL - 2)
    found = imported(file)
    deleted = {ids[31], ids[32]}
    assert found["images"] == [pair for pair in before["images"] if pair[0].id not in deleted]
    assert found["sentences"] == before["sentences"]


def test_what_was_left_out_stays_left_out_and_is_told_again(
    stocked: LibraryConfig, space: Space, path_of: Callable[..., Path], tmp_path: Path
) -> None:
    with open_library(stocked, space) as library:
        ids = [record.id for record in library.list_images(limit=1000).items[::-1]]
        lost = path_of(library, ids[5])
        deleted = ids[6]
        content = lost.read_bytes()
        lost.unlink()
    interrupted(stocked, tmp_path / "file.tar", at=12)
    lost.write_bytes(content)
    with open_library(stocked, space) as library:
        library.delete_image(deleted)
    exported = export_library(stocked, tmp_path / "file.tar")
    assert exported.resumed >= 12
    (problem,) = exported.problems
    assert problem.startswith(f"images: {ids[5]} was left out")
    assert ids[5] not in {image.id for image, _ in imported(tmp_path / "file.tar")["images"]}


@pytest.mark.parametrize("which", [0, 1], ids=["archive", "records"])
def test_whatever_became_of_the_unfinished_files_the_archive_is_whole(
    stocked: LibraryConfig, tmp_path: Path, which: int, asked: list[str]
) -> None:
    """Cut off, or with a flipped bit, anywhere: as after a power cut."""
    file = tmp_path / "file.tar"
    left = interrupted(stocked, file, at=50)
    kept = [path.read_bytes() for path in left]
    size = len(kept[which])
    expected = everything(stocked)
    counts = set()
    for at in (0, 1, 600, 1100, 3000, *range(size // 7, size, size // 7), size - 1):
        for damaged in (kept[which][:at], kept[which][:at] + bytes([kept[which][at] ^ 1]) + kept[which][at + 1 :]):
            for path, data in zip(left, kept, strict=True):
                path.write_bytes(data)
            left[which].write_bytes(damaged)
            asked.clear()
            assert export_library(stocked, file).counts.images == ALL
            counts.add(len(asked))
            assert unfinished_files(file) == []
            file.rename(tmp_path / "last.tar")
    assert ALL in counts
    assert which == 1 or len(counts) > 2, "some of it is used"
    assert imported(tmp_path / "last.tar") == expected


@pytest.mark.parametrize("how", ["library", "space", "copies", "restart"])
def test_another_export_does_not_go_on_from_there(
    stocked: LibraryConfig, tmp_path: Path, how: str, asked: list[str], space: Space, other_space: Space
) -> None:
    file = tmp_path / "file.tar"
    interrupted(stocked, file)
    config, options, told = stocked, {}, list[datetime]()
    if how == "library":
        config = LibraryConfig(tmp_path / "other")
        export_library(stocked, tmp_path / "copy.tar")
        import_library(config, tmp_path / "copy.tar", render=no_thumbnail)
    elif how == "space":
        _reindex(config, space, other_space)
    else:
        options = {how: True}
    asked.clear()
    exported: Exported = export_library(config, file, resuming=told.append, **options)
    assert (told, exported.resumed, len(asked)) == ([], 0, ALL)
    assert unfinished_files(file) == []


def _reindex(config: LibraryConfig, space: Space, other: Space) -> None:
    import numpy as np

    with open_library(config, space) as library:
        library.reindex(
            other,
            lambda contents: np.ones((len(contents), other.dimension)),
            lambda texts: np.ones((len(texts), other.dimension)),
        )


def test_an_export_that_was_killed_when_it_was_complete_is_complete(
    stocked: LibraryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unfinished file has the same bytes under two names: nothing may be written to it any more."""
    file = tmp_path / "file.tar"
    monkeypatch.setattr("index.moving.files._Unfinished.remove", lambda self: None)
    export_library(stocked, file)
    monkeypatch.undo()
    data = file.read_bytes()
    assert len(unfinished_files(file)) == 2
    moved = file.rename(tmp_path / "moved.tar")
    export_library(stocked, file)
    assert moved.read_bytes() == data
    assert unfinished_files(file) == []
    moved.with_name("file.tar.unfinished").hardlink_to(file)
    with pytest.raises(FileExistsError):
        export_library(stocked, file)
    assert unfinished_files(file) == []


def test_a_failure_before_anything_was_written_leaves_nothing(
    stocked: LibraryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.Exporting, "_spool", fail)
    with pytest.raises(OSError, match="No space"):
        export_library(stocked, tmp_path / "file.tar")
    assert list(tmp_path.glob("file.tar*")) == []


def test_what_is_in_the_way_is_not_followed(stocked: LibraryConfig, tmp_path: Path) -> None:
    (tmp_path / "file.tar.unfinished").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        export_library(stocked, tmp_path / "file.tar")
    assert not (tmp_path / "elsewhere").exists()
