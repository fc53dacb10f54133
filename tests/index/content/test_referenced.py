"""Content that stays where its owner keeps it: what is opened, and what never is."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from index import Location, StorageFailed, open_below, signature_of
from index.content.directory import DirectoryContentStore
from index.content.referenced import ReferencedContentStore

DATA = b"a picture" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "2024").mkdir(parents=True)
    (root / "2024" / "one.jpg").write_bytes(DATA)
    (tmp_path / "secret.jpg").write_bytes(DATA)
    return root


Places = list[Location]


@pytest.fixture
def places(root: Path) -> Places:
    """What the catalog says about the content; tests change it."""
    return [Location(str(root), "2024/one.jpg", signature_of((root / "2024/one.jpg").stat()))]


@pytest.fixture
def store(tmp_path: Path, places: Places) -> ReferencedContentStore:
    own = DirectoryContentStore(tmp_path / "library")
    return ReferencedContentStore(own, lambda sha256: places if sha256 == SHA256 else [])


def read(store: ReferencedContentStore) -> bytes:
    with closing(store.open(SHA256, "content")) as content:
        return content.read()


def test_it_is_served_from_where_it_is(store: ReferencedContentStore, root: Path, tmp_path: Path) -> None:
    store.put_many({SHA256: (None, b"small")})
    assert read(store) == DATA
    with closing(store.open(SHA256, "content")) as content:
        assert content.path == root / "2024" / "one.jpg"
        assert (content.size, content.read(3, 12)) == (len(DATA), DATA[3:12])
        content.close()
    stat = store.stat(SHA256, "content")
    assert stat is not None
    assert stat.size == len(DATA)
    assert store.location(SHA256, "content") == str(root / "2024" / "one.jpg")
    assert not store.has_copy(SHA256)
    assert [path for path in (tmp_path / "library" / "content").rglob("*") if path.is_file()] == []
    store.delete(SHA256)
    assert (root / "2024" / "one.jpg").read_bytes() == DATA, "the owner's file is never deleted"


def test_a_copy_comes_first(store: ReferencedContentStore, root: Path) -> None:
    store.put_many({SHA256: (DATA, b"small")})
    (root / "2024" / "one.jpg").unlink()
    assert read(store) == DATA
    assert store.has_copy(SHA256)


def test_a_changed_file_is_not_served(store: ReferencedContentStore, root: Path) -> None:
    path = root / "2024" / "one.jpg"
    status = path.stat()
    path.write_bytes(DATA[::-1])
    with pytest.raises(FileNotFoundError):
        read(store)
    assert store.stat(SHA256, "content") is None
    path.write_bytes(DATA)  # another time, but the content that it was
    os.utime(path, ns=(0, 12345))
    assert read(store) == DATA
    assert status.st_size == len(DATA)


def test_the_next_place_is_tried(store: ReferencedContentStore, root: Path, places: Places) -> None:
    places.insert(0, Location(str(root), "gone.jpg", places[0].signature))
    places.insert(0, Location(str(root / "nowhere"), "2024/one.jpg", places[1].signature))
    assert read(store) == DATA


@pytest.mark.parametrize(
    "path", ["../secret.jpg", "/etc/passwd", "2024/../../secret.jpg", "./2024/one.jpg", "", "2024//one.jpg"]
)
def test_no_way_out(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="Not a path below"):
        open_below(str(root), path)


def _link_to_file(root: Path) -> None:
    (root / "2024" / "one.jpg").unlink()
    (root / "2024" / "one.jpg").symlink_to(root.parent / "secret.jpg")


def _link_to_folder(root: Path) -> None:
    (root / "2024").rename(root.parent / "elsewhere")
    (root / "2024").symlink_to(root.parent / "elsewhere")


def _link_to_root(root: Path) -> None:
    root.rename(root.parent / "elsewhere")
    root.symlink_to(root.parent / "elsewhere")


def _pipe(root: Path) -> None:
    (root / "2024" / "one.jpg").unlink()
    os.mkfifo(root / "2024" / "one.jpg")


def _folder(root: Path) -> None:
    (root / "2024" / "one.jpg").unlink()
    (root / "2024" / "one.jpg").mkdir()


def _vanish(root: Path) -> None:
    root.rename(root.parent / "elsewhere")


def _empty(root: Path) -> None:
    (root / "2024" / "one.jpg").write_bytes(b"")


@pytest.mark.parametrize("change", [_link_to_file, _link_to_folder, _link_to_root, _pipe, _folder, _vanish, _empty])
def test_links_and_what_is_no_file_are_not_opened(
    store: ReferencedContentStore, root: Path, change: Callable[[Path], None]
) -> None:
    change(root)
    with pytest.raises(FileNotFoundError):
        store.open(SHA256, "content")
    assert store.stat(SHA256, "content") is None


@pytest.fixture
def swapping(root: Path) -> Iterator[None]:
    """Somebody exchanges a folder with a link to one outside, over and over."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "one.jpg").write_bytes(b"x" * len(DATA))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "2024").rename(root / "kept")
            (root / "2024").symlink_to(root.parent / "outside")
            (root / "2024").unlink()
            (root / "kept").rename(root / "2024")
            time.sleep(0.0002)  # it is in its place often enough to be opened

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_a_race_does_not_lead_outside(root: Path, swapping: None) -> None:
    opened = 0
    for _ in range(3000):
        try:
            descriptor = open_below(str(root), "2024/one.jpg")
        except OSError:
            continue
        with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor)
            assert file.read(1) == DATA[:1]
        opened += 1
    assert opened


def test_a_file_that_changes_under_its_reader(store: ReferencedContentStore, root: Path) -> None:
    with closing(store.open(SHA256, "content")) as content:
        content.read(0, 10)
        with (root / "2024" / "one.jpg").open("ab") as file:
            file.write(b"more")
        with pytest.raises(StorageFailed, match="changed while it was read"):
            content.read(10)


def test_descriptors_are_closed(store: ReferencedContentStore, root: Path, places: Places) -> None:
    places.insert(0, Location(str(root), "2024", places[0].signature))
    places.insert(0, Location(str(root), "gone/one.jpg", places[0].signature))
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        assert read(store) == DATA
        store.stat(SHA256, "content")
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
