"""What a crash, and other processes, must not do to a library."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from index import (
    Library,
    LibraryConfig,
    NewImage,
    Space,
    open_library,
)

PathOf = Callable[..., Path]

Worker = Callable[..., list[str]]


@pytest.mark.parametrize("acknowledged", [1, 7])
def test_acknowledged_images_survive_a_kill(
    root: Path, space: Space, start_worker: Callable[..., object], acknowledged: int, path_of: PathOf
) -> None:
    worker = start_worker(root, "add", 0, 100_000, 5)
    assert worker.stdout is not None
    ids = [id for _ in range(acknowledged) for id in worker.stdout.readline().split()]
    time.sleep(0.02)  # into the middle of the next batches
    os.kill(worker.pid, signal.SIGKILL)
    ids += worker.stdout.read().split()
    assert worker.wait() == -signal.SIGKILL

    with open_library(LibraryConfig(root), space) as library:
        assert library.check(deep=True) == []
        assert len(ids) >= 5 * acknowledged
        for number, id in enumerate(ids):
            assert library.get_image(id).metadata == {"number": number}
            assert path_of(library, id).read_bytes() == f"content {number}".encode()
        query = np.random.default_rng(len(ids) - 1).normal(size=space.dimension)
        assert library.search(query, 1, "images").items[0].record.id == ids[-1]


def test_a_killed_process_does_not_lock_the_library(
    root: Path, space: Space, start_worker: Callable[..., object], image: Callable[..., NewImage]
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        worker = start_worker(root, "add", 0, 100_000, 5)
        assert worker.stdout is not None
        worker.stdout.readline()
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        assert library.add_images([image(-1 % 1_000_000)])[0].created
        assert library.check() == []


def test_what_another_process_adds_and_deletes_shows_in_the_next_search(
    root: Path,
    library: Library,
    run_worker: Worker,
    image: Callable[..., NewImage],
    vector: Callable[[int], np.ndarray],
) -> None:
    first, second = (one.record for one in library.add_images([image(1), image(2)]))
    assert library.search(vector(1), 2, "images").items[0].record == first
    (added,) = run_worker(root, "add", 3, 4, 1)
    assert library.search(vector(3), 1, "images").items[0].record.id == added
    run_worker(root, "delete", first.id, added)
    page = library.search(vector(1), 3, "images")
    assert [hit.record for hit in page.items] == [second]
    assert page.total == 1


def test_two_processes_add_at_the_same_time(root: Path, space: Space, start_worker: Callable[..., object]) -> None:
    workers = [start_worker(root, "add", first, first + 60, 6) for first in (0, 30)]  # half of each is shared
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    first, second = (output.split() for output in outputs)
    assert first[30:] == second[:30]  # one record for one content, whoever came first
    with open_library(LibraryConfig(root), space) as library:
        assert library.count("images") == 90
        assert library.check(deep=True) == []


def test_a_file_without_a_record_is_swept_only_when_it_is_old(
    root: Path, space: Space, library: Library, image: Callable[..., NewImage], path_of: PathOf
) -> None:
    kept = library.add_images([image(1)])[0].record
    old, young = root / "content/ab" / ("ab" * 32), root / "content/cd" / ("cd" * 32)
    unfinished = root / "incoming/0123.unfinished"
    for path in (old, young, unfinished):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    long_ago = time.time() - 7 * 24 * 3600
    for path in (old, unfinished, path_of(library, kept.id)):
        os.utime(path, (long_ago, long_ago))
    assert library.remove_orphans() == 1
    assert not old.exists()
    assert not unfinished.exists()
    assert young.exists()
    assert library.check(deep=True) == []


def test_content_is_never_swept_for_want_of_a_catalog(
    root: Path, space: Space, image: Callable[..., NewImage], path_of: PathOf
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        path = path_of(library, library.add_images([image(1)])[0].record.id)
    (root / "catalog.sqlite").unlink()
    long_ago = time.time() - 7 * 24 * 3600
    os.utime(path, (long_ago, long_ago))
    with pytest.raises(Exception, match="content files beside it") as caught:
        open_library(LibraryConfig(root), space)
    assert caught.value.code == "catalog_corrupted"
    assert path.exists()


def test_an_emptied_catalog_is_told_as_that(root: Path, space: Space, image: Callable[..., NewImage]) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
    (root / "catalog.sqlite").write_bytes(b"")
    for _ in range(2):  # nor is it made anew by the first attempt
        with pytest.raises(Exception, match="it is empty or was missing") as caught:
            open_library(LibraryConfig(root), space)
        assert caught.value.code == "catalog_corrupted"


def test_strange_files_and_folders_in_a_library_are_in_nobodys_way(
    root: Path, space: Space, image: Callable[..., NewImage]
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
        folders = [path for path in (root, *root.rglob("*")) if path.is_dir()]
    for folder in folders:
        (folder / "@eaDir" / "x").mkdir(parents=True)
        (folder / "Thumbs.db").write_bytes(b"x")
        (folder / "loop").symlink_to(folder)
        (folder / "zz").mkdir()
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(2)])
        assert library.search(image(1).vector, 2, "images").total == 2
        assert library.remove_orphans() == 0
        assert library.check(deep=True) == []
    assert all((folder / "Thumbs.db").exists() for folder in folders), "what is not of the library stays"


def test_a_failed_addition_leaves_nothing_behind(library: Library, image: Callable[..., NewImage]) -> None:
    bad = image(2, vector=np.full(library.space.dimension, np.nan))
    with pytest.raises(Exception, match="finite") as caught:
        library.add_images([image(1), bad])
    assert caught.value.code == "invalid_vector"
    assert library.count("images") == 0
    assert library.check() == []


def test_closing_leaks_no_descriptor(root: Path, space: Space, image: Callable[..., NewImage]) -> None:
    def use() -> None:
        with open_library(LibraryConfig(root), space) as library:
            library.add_images([image(1), image(2)])
            library.search(image(1).vector, 1, "images")
            library.check()

    use()  # what is imported and cached on first use is no leak
    before = _descriptors()
    use()
    assert _descriptors() == before


def test_a_failed_open_leaks_no_descriptor(root: Path, space: Space, other_space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    before = _descriptors()
    for _ in range(3):
        with pytest.raises(Exception, match="visem reindex"):
            open_library(LibraryConfig(root), other_space)
    assert _descriptors() == before


def test_the_log_is_emptied_by_the_last_to_close(root: Path, space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    assert not (root / "catalog.sqlite-wal").exists()
    with sqlite3.connect(root / "catalog.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_library_is_for_its_owner_alone_also_one_that_was_open_to_others(
    root: Path, space: Space, image: Callable[..., NewImage], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    outside.chmod(0o644)
    mine = [root / "notes", root / "mine" / "photo"]
    for _ in range(2):
        with open_library(LibraryConfig(root), space) as library:
            library.add_images([image(1), image(2)])
            library.search(image(1).vector, 1, "images")
            modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if not path.is_symlink()}
        for path in mine:
            assert modes.pop(path, 0o644) == 0o644, "what is not of the library stays as it is"
        modes.pop(root / "mine", None)
        for path, mode in modes.items():
            assert mode == (0o700 if path.is_dir() else 0o600), path
        (root / "mine").mkdir(exist_ok=True)
        for path in mine:
            path.write_bytes(b"x")
        for path in (root, *root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        if not (root / "content" / "link").is_symlink():
            (root / "content" / "link").symlink_to(outside)
    assert outside.stat().st_mode & 0o777 == 0o644


def _descriptors() -> list[str]:
    """What the open descriptors of this process point to."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the directory
            found.append(str(link.readlink()))
    return sorted(found)
