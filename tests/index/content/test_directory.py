"""What a directory does beyond the contract of every content store (contract/test_content.py)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import index
from index.atomic_files import write_atomically
from index.content.directory import DirectoryContentStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryContentStore:
    return DirectoryContentStore(tmp_path)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_layout(store: DirectoryContentStore, tmp_path: Path) -> None:
    sha256 = digest(b"hello")
    store.put_many({sha256: (b"hello", b"small")})
    content, thumbnail = store.open(sha256, "content"), store.open(sha256, "thumbnail")
    assert content.path == tmp_path / "content" / "2c" / sha256
    assert thumbnail.path == tmp_path / "thumbnails" / "2c" / f"{sha256}.jpg"
    assert store.location(sha256, "content") == str(content.path)
    assert list((tmp_path / "incoming").iterdir()) == []
    content.close()
    thumbnail.close()


def test_a_truncated_file_is_written_again(store: DirectoryContentStore) -> None:
    sha256 = digest(b"whole content")
    items = {sha256: (b"whole content", b"small")}
    store.put_many(items)
    for damage in (b"who", b""):
        Path(store.location(sha256, "content")).write_bytes(damage)
        Path(store.location(sha256, "thumbnail")).write_bytes(damage[:1])
        store.put_many(items)
        for kind, expected in (("content", b"whole content"), ("thumbnail", b"small")):
            file = store.open(sha256, kind)  # type: ignore[arg-type]
            assert file.read() == expected
            file.close()


def test_an_empty_file_counts_as_missing(store: DirectoryContentStore) -> None:
    sha256 = digest(b"x")
    store.put_many({sha256: (b"x", b"t")})
    Path(store.location(sha256, "thumbnail")).write_bytes(b"")
    assert store.stat(sha256, "thumbnail") is None
    with pytest.raises(FileNotFoundError):
        store.open(sha256, "thumbnail")


def test_foreign_files_are_nobodys_content(store: DirectoryContentStore) -> None:
    sha256 = digest(b"x")
    store.put_many({sha256: (b"x", b"t")})
    Path(store.location(sha256, "content")).with_name("notes.txt").write_text("not ours")
    assert set(store.stored_before(2e10)) == {sha256}


def test_a_disk_that_refuses_is_reported(store: DirectoryContentStore, tmp_path: Path) -> None:
    sha256 = digest(b"x")
    (tmp_path / "content" / sha256[:2]).write_bytes(b"a file where a directory should be")
    with pytest.raises(index.StorageFailed, match="space and permissions") as caught:
        store.put_many({sha256: (b"x", b"t")})
    assert caught.value.code == "storage_failed"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_one_refused_file_leaves_nothing_unfinished(store: DirectoryContentStore, tmp_path: Path) -> None:
    items = {digest(data): (data, b"t") for data in (b"1", b"2", b"3", b"4")}
    Path(store.location(digest(b"2"), "content")).mkdir(parents=True)
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


def test_no_link_is_followed(store: DirectoryContentStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret of the machine")
    sha256, other = digest(b"x"), digest(b"other")
    store.put_many({sha256: (b"x", b"t")})
    for kind in ("content", "thumbnail"):
        path = Path(store.location(sha256, kind))  # type: ignore[arg-type]
        path.unlink()
        path.symlink_to(secret)
        assert store.stat(sha256, kind) is None  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError):
            store.open(sha256, kind)  # type: ignore[arg-type]
    store.put_many({sha256: (b"x", b"t")})
    assert not Path(store.location(sha256, "content")).is_symlink()
    assert secret.read_bytes() == b"a secret of the machine"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / other).write_bytes(b"theirs")
    (tmp_path / "content" / other[:2]).symlink_to(elsewhere)
    assert store.stat(other, "content") is None
    with pytest.raises(FileNotFoundError):
        store.open(other, "content")
    assert set(store.stored_before(2e10)) == {sha256}
    store.delete(other)
    assert (elsewhere / other).exists()
    with pytest.raises(index.StorageFailed, match="link"):
        store.put_many({other: (b"other", b"t")})
    assert [path.name for path in elsewhere.iterdir()] == [other]


def test_what_is_set_aside_is_written_anew(store: DirectoryContentStore, tmp_path: Path) -> None:
    sha256 = digest(b"x")
    store.put_many({sha256: (b"x", b"t")})
    Path(store.location(sha256, "content")).write_bytes(b"y")
    store.set_aside(sha256, "content")
    store.set_aside(digest(b"never"), "content")
    assert store.stat(sha256, "content") is None
    assert (tmp_path / "damaged" / sha256).read_bytes() == b"y"
    store.put_many({sha256: (b"x", b"t")})
    content = store.open(sha256, "content")
    assert content.read() == b"x"
    content.close()


def test_files_are_for_their_owner_alone(store: DirectoryContentStore, tmp_path: Path) -> None:
    store.put_many({digest(b"x"): (b"x", b"t")})
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
