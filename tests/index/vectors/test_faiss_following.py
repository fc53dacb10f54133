"""The vector index on disk is a cache: whatever happens to it, searches answer from the catalog."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
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
from index.locks import ReadWriteLock
from index.vectors.faiss_snapshots import read_header, read_snapshot, write_snapshot

Image = Callable[..., NewImage]


def names(library: Library, query: np.ndarray) -> list[str | None]:
    return [hit.record.filename for hit in library.search(query, 1000, "images").items]


@pytest.fixture
def snapshot(root: Path, image: Image, copy_of: Callable[..., None]) -> Path:
    """The snapshot of a closed library of thirty images."""
    copy_of("thirty", lambda library: library.add_images([image(n) for n in range(30)]), root)
    path = root / "index" / "images.faiss"
    assert path.exists()
    return path


def test_an_undamaged_snapshot_is_used(snapshot: Path, root: Path, space: Space, image: Image) -> None:
    """Proven by a snapshot that lies, undetectably, about one vector."""
    found = read_snapshot(snapshot)
    assert found is not None
    header, payload = found
    with open_library(LibraryConfig(root), space) as library:
        honest = library.image_vectors([library.list_images().items[-1].id])[0]
    at = payload.tobytes().index(honest.tobytes())
    forged = payload.copy()
    forged[at : at + honest.nbytes] = np.frombuffer((-honest).tobytes(), dtype=np.uint8)
    write_snapshot(snapshot, header, forged)
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, honest)[-1] == "0.png"
        assert library.check() == ["images: the vector index has other vectors than the catalog"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a snapshot at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(path.read_bytes()[:-10] + b"x" * 10),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"key":30', b'"key":"3"')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"generation":1', b'"generation":7')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"key":30', b'"key":29')),
        lambda path: shutil.rmtree(path.parent),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=[
        "deleted",
        "empty",
        "foreign",
        "truncated",
        "altered",
        "header",
        "generation",
        "key",
        "directory",
        "folder",
    ],
)
def test_a_damaged_snapshot_is_rebuilt(
    snapshot: Path, root: Path, space: Space, image: Image, damage: Callable[[Path], object]
) -> None:
    damage(snapshot)
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, image(3).vector)[0] == "3.png"
        assert library.search(image(3).vector, 1, "images").total == 30
        assert library.check() == []
        library.add_images([image(n) for n in range(30, 50)])
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, image(45).vector)[0] == "45.png"
        assert library.check() == []


def test_a_stale_snapshot_is_brought_up_to_date(snapshot: Path, root: Path, space: Space, image: Image) -> None:
    old = snapshot.read_bytes()
    with open_library(LibraryConfig(root), space) as library:
        library.delete_images([record.id for record in library.list_images(limit=12).items])
        library.add_images([image(n) for n in range(30, 45)])
    snapshot.write_bytes(old)
    with open_library(LibraryConfig(root), space) as library:
        found = names(library, image(40).vector)
        assert found[0] == "40.png"
        assert len(found) == 33
        assert "29.png" not in found
        assert library.check() == []


def test_the_snapshot_of_another_library_is_never_used(
    snapshot: Path, tmp_path: Path, space: Space, image: Image
) -> None:
    other = tmp_path / "other"
    with open_library(LibraryConfig(other), space) as library:
        library.add_images([image(n) for n in range(100, 130)])
    shutil.copy(snapshot, other / "index" / "images.faiss")
    with open_library(LibraryConfig(other), space) as library:
        assert names(library, image(100).vector)[0] == "100.png"
        assert library.check() == []


def test_a_catalog_restored_from_a_backup_does_not_trust_a_newer_snapshot(
    snapshot: Path, root: Path, space: Space, image: Image
) -> None:
    """The same library, the same keys, but other records under them."""
    backup = (root / "catalog.sqlite").read_bytes()
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(30, 50)])
    newer = snapshot.read_bytes()
    (root / "catalog.sqlite").write_bytes(backup)
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(200, 230)])
    snapshot.write_bytes(newer)
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, image(215).vector)[0] == "215.png"
        assert library.check() == []


def test_a_catalog_in_which_other_records_were_deleted_is_noticed(
    snapshot: Path, root: Path, space: Space, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    backup = (root / "catalog.sqlite").read_bytes()
    with open_library(LibraryConfig(root), space) as library:
        records = library.list_images(limit=30).items
        library.delete_images([record.id for record in records[5:15]])
        assert len(names(library, image(1).vector)) == 20
    newer = snapshot.read_bytes()
    (root / "catalog.sqlite").write_bytes(backup)
    with open_library(LibraryConfig(root), space) as library:
        library.delete_images([record.id for record in records[10:20]])
    snapshot.write_bytes(newer)
    with caplog.at_level(logging.WARNING), open_library(LibraryConfig(root), space) as library:
        assert len(names(library, image(1).vector)) == 20
        assert not [problem for problem in library.check() if "vector index" in problem]
    assert "contradicts the catalog" in caplog.text


def test_a_snapshot_is_written_only_if_it_saves_work(snapshot: Path, root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(30, 130)])
    assert read_header(snapshot).key == 130
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(130)])
    assert read_header(snapshot).key == 130
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, image(130).vector)[0] == "130.png"


def test_a_snapshot_is_written_while_adding(
    root: Path, space: Space, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.faiss_following._SNAPSHOT_EVERY", 10)
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(12)])
        header = read_header(root / "index" / "images.faiss")
        assert header is not None
        assert header.key == 12


def test_a_snapshot_that_cannot_be_written_harms_nobody(
    root: Path, space: Space, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
        (root / "index").write_bytes(b"in the way")
    assert "No snapshot" in caplog.text
    with open_library(LibraryConfig(root), space) as library:
        assert names(library, image(1).vector) == ["1.png"]


def test_a_library_beyond_the_threshold_is_clustered_and_stays_so(root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root, exact_up_to=50), space) as library:
        library.add_images([image(n) for n in range(80)])
        stats = library.stats().image_index
        assert (stats.kind, stats.size) == ("ivf", 80)
        assert stats.recall >= 0.95
        assert library.check() == []
    with open_library(LibraryConfig(root, exact_up_to=50), space) as library:
        assert library.stats().image_index == stats
        found = library.search(image(5).vector, 20, "images", filters={"number": "70"})
        assert [hit.record.filename for hit in found.items] == ["70.png"]
        assert len(names(library, image(5).vector)) == 80
        library.delete_images([record.id for record in library.list_images(limit=60).items])
        assert library.stats().image_index.kind == "exact"
        assert library.check() == []


def test_the_lock_lets_readers_in_together_and_a_writer_alone() -> None:
    import threading

    lock = ReadWriteLock()
    together = threading.Barrier(2, timeout=5)
    log: list[str] = []

    def read() -> None:
        with lock.read():
            together.wait()  # passes only if both are inside
            log.append("read")

    def write() -> None:
        with lock.write():
            log.append("write")

    with lock.write():
        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        log.append("first")
    for thread in threads:
        thread.join()
    writer = threading.Thread(target=write)
    with lock.read():
        writer.start()
        log.append("last")
    writer.join()
    assert log == ["first", "read", "read", "last", "write"]
