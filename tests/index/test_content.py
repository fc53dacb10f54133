from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

import index
from index.content import FileContentStore, digest, render_thumbnail
from index.files import write_atomically


@pytest.fixture
def store(tmp_path: Path) -> FileContentStore:
    return FileContentStore(tmp_path)


def test_content_is_named_by_its_digest(store: FileContentStore, tmp_path: Path) -> None:
    sha256 = store.put(b"hello")
    assert sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert store.path(sha256) == tmp_path / "content" / "2c" / sha256
    assert store.read(sha256) == b"hello"
    assert not store.has(sha256)  # the thumbnail is still to come
    store.put_thumbnail(sha256, b"small")
    assert store.has(sha256)
    assert store.thumbnail_path(sha256).read_bytes() == b"small"
    assert list((tmp_path / "incoming").iterdir()) == []
    store.delete(sha256)
    store.delete(sha256)
    assert not store.has(sha256)
    with pytest.raises(FileNotFoundError):
        store.read(sha256)


@pytest.mark.parametrize("name", ["../../etc/passwd", "ABCDEF", "a" * 63, "a" * 65, "A" * 64, "", "a" * 63 + "\n"])
def test_only_digests_become_paths(store: FileContentStore, name: str) -> None:
    for method in (store.path, store.thumbnail_path, store.delete, store.read, store.has):
        with pytest.raises(ValueError, match="SHA-256"):
            method(name)


def test_a_truncated_file_is_written_again(store: FileContentStore) -> None:
    sha256 = store.put(b"whole content")
    store.path(sha256).write_bytes(b"who")
    store.put(b"whole content")
    assert store.read(sha256) == b"whole content"


def test_emptiness(store: FileContentStore) -> None:
    assert store.is_empty()
    store.put(b"x")
    assert not store.is_empty()


def test_old_files_are_told_from_young_ones(store: FileContentStore) -> None:
    sha256 = store.put(b"x")
    written = store.path(sha256).stat().st_mtime
    (store.path(sha256).parent / "notes.txt").write_text("not ours")
    assert list(store.stored_before(written - 1)) == []
    assert list(store.stored_before(written + 1)) == [sha256]


def test_a_disk_that_refuses_is_reported(store: FileContentStore, tmp_path: Path) -> None:
    sha256 = digest(b"x")
    (tmp_path / "content" / sha256[:2]).write_bytes(b"a file where a directory should be")
    with pytest.raises(index.StorageFailed, match="space and permissions") as caught:
        store.put(b"x")
    assert caught.value.code == "storage_failed"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_one_refused_file_leaves_nothing_unfinished(store: FileContentStore, tmp_path: Path) -> None:
    items = {digest(data): (data, b"t") for data in (b"1", b"2", b"3", b"4")}
    store.path(digest(b"2")).mkdir(parents=True)
    with pytest.raises(index.StorageFailed):
        store.put_many(items)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def parts() -> object:
        yield b"new"
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_atomically(path, parts(), tmp_path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 500), (320, 160)), ((300, 3000), (32, 320)), ((50, 40), (50, 40)), ((5000, 1), (320, 1))],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_thumbnails_keep_the_shape_and_never_grow(mode: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = Image.new(mode, size, color="red" if mode != "L" else 100)
    with Image.open(io.BytesIO(render_thumbnail(picture))) as thumbnail:
        assert (thumbnail.format, thumbnail.size, thumbnail.mode) == ("JPEG", expected, "RGB")
    assert picture.size == size
    with Image.open(io.BytesIO(render_thumbnail(picture, size=16))) as thumbnail:
        assert max(thumbnail.size) == min(16, *[max(size)])
