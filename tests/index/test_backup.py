"""Backups: of one moment, whatever others do meanwhile; restored whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from index import Library, LibraryConfig, NewImage, NewSentence, RecordNotFound, Space, open_library
from index.backup import back_up, restore
from index.errors import BackupDamaged, LibraryNotFound

PathOf = Callable[..., Path]
FLIPS, BACKUPS = (150, 8) if os.environ.get("TORTURE") else (50, 3)


@pytest.fixture
def stocked(library: Library, image: Callable[..., NewImage], sentence: Callable[..., NewSentence]) -> Library:
    library.add_images([image(n) for n in range(20)])
    library.add_sentences([sentence(n) for n in range(5)])
    return library


def contents(library: Library) -> dict[str, bytes]:
    found = {}
    for record in library.list_images(limit=1000).items:
        with library.open_file(record.id, "content") as file:
            found[record.id] = file.content.read()
    return found


def test_everything_comes_back(root: Path, stocked: Library, space: Space, tmp_path: Path) -> None:
    made = back_up(LibraryConfig(root), tmp_path / "file.tar")
    assert (made.images, made.sentences, made.files, made.problems) == (20, 5, 41, ())
    assert (tmp_path / "file.tar").stat().st_mode & 0o777 == 0o600
    again = restore(tmp_path / "file.tar", tmp_path / "new")
    assert (again.images, again.sentences) == (20, 5)
    with open_library(LibraryConfig(tmp_path / "new"), space) as restored:
        assert restored.check(deep=True) == []
        assert contents(restored) == contents(stocked)
        assert restored.stats().library_id == stocked.stats().library_id
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert [path.name for path in root.glob("backup-*")] == []


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_it_is_of_one_moment_while_others_add_and_delete(
    root: Path,
    stocked: Library,
    image: Callable[..., NewImage],
    space: Space,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
) -> None:
    """Images come and go in pairs, in one transaction each: a backup has both or none, with their files."""

    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "There are no links here")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    stop = threading.Event()

    def churn() -> None:
        number = 1000
        while not stop.is_set():
            added = stocked.add_images([image(number), image(number + 1)])
            stocked.delete_images([one.record.id for one in added])
            number += 2

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for n in range(BACKUPS):
            back_up(LibraryConfig(root), tmp_path / f"{n}.tar")
    finally:
        stop.set()
        thread.join()
    for n in range(BACKUPS):
        restore(tmp_path / f"{n}.tar", tmp_path / f"{n}")
        with open_library(LibraryConfig(tmp_path / f"{n}"), space) as restored:
            assert restored.check(deep=True) == []
            numbers = sorted(one.metadata["number"] for one in restored.list_images(limit=1000).items)
            assert numbers[:20] == list(range(20))
            assert len(numbers) in (20, 22)
            assert len(contents(restored)) == len(numbers)


def test_nothing_is_overwritten(root: Path, stocked: Library, tmp_path: Path) -> None:
    taken = tmp_path / "file.tar"
    taken.write_bytes(b"something else")
    with pytest.raises(FileExistsError):
        back_up(LibraryConfig(root), taken)
    assert taken.read_bytes() == b"something else"
    back_up(LibraryConfig(root), tmp_path / "good.tar")
    for folder in (root, taken):
        with pytest.raises(FileExistsError):
            restore(tmp_path / "good.tar", folder)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        restore(tmp_path / "good.tar", tmp_path / "link")
    (tmp_path / "empty").mkdir()
    assert restore(tmp_path / "good.tar", tmp_path / "empty").images == 20


def test_no_library_no_backup(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound):
        back_up(LibraryConfig(tmp_path / "none"), tmp_path / "file.tar")
    assert list(tmp_path.iterdir()) == []


def test_what_was_lost_already_is_told_and_the_rest_is_saved(
    root: Path, stocked: Library, path_of: PathOf, tmp_path: Path
) -> None:
    lost, damaged = (one.id for one in stocked.list_images(limit=2).items)
    path_of(stocked, lost).unlink()
    path_of(stocked, damaged).write_bytes(b"x")
    made = back_up(LibraryConfig(root), tmp_path / "file.tar")
    assert len(made.problems) == 2
    assert restore(tmp_path / "file.tar", tmp_path / "new").images == 20


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.99, 0.9999])
def test_a_backup_that_ends_too_early_restores_nothing(
    root: Path, stocked: Library, tmp_path: Path, share: float
) -> None:
    back_up(LibraryConfig(root), tmp_path / "file.tar")
    data = (tmp_path / "file.tar").read_bytes()
    used = data.rstrip(b"\0")
    (tmp_path / "cut.tar").write_bytes(used[: int(len(used) * share)])
    with pytest.raises(BackupDamaged, match="Nothing was restored"):
        restore(tmp_path / "cut.tar", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.tar", "file.tar", "library"]


def test_no_flipped_bit_gets_through(root: Path, stocked: Library, space: Space, tmp_path: Path) -> None:
    """Wherever it is: it is noticed, or it is in what tar itself does not use."""
    back_up(LibraryConfig(root), tmp_path / "file.tar")
    data = (tmp_path / "file.tar").read_bytes()
    whole = contents(stocked)
    noticed = 0
    for n, position in enumerate(range(0, len(data), len(data) // FLIPS)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (n % 8)
        (tmp_path / "flipped.tar").write_bytes(flipped)
        try:
            restore(tmp_path / "flipped.tar", tmp_path / f"new{n}")
        except BackupDamaged:
            noticed += 1
            continue
        with open_library(LibraryConfig(tmp_path / f"new{n}"), space) as restored:
            assert contents(restored) == whole
    assert noticed > 0.4 * FLIPS


@pytest.mark.parametrize(
    "name",
    ["../evil", "/evil", "keys.json", "content/ab/../../evil", "content/ab/" + "cd" * 32, "catalog.sqlite-wal"],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_hostile_file_writes_nothing(tmp_path: Path, name: str, kind: bytes) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd"
        member.size = 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(BackupDamaged):
        restore(tmp_path / "evil.tar", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.tar"]


def test_links_of_a_backup_that_was_killed_go_with_the_next(root: Path, stocked: Library, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left = root / f"backup-{pid}-{'0' * 16}"
    (left / "content").mkdir(parents=True)
    back_up(LibraryConfig(root), tmp_path / "file.tar")
    assert not left.exists()


def test_what_only_looks_like_links_of_a_backup_stays(root: Path, stocked: Library, tmp_path: Path) -> None:
    for name in ("backup-99999999-05-01", "backup-2024-05-01", "backup-old"):
        (root / name).mkdir()
        (root / name / "letter.txt").write_text("mine")
    back_up(LibraryConfig(root), tmp_path / "file.tar")
    assert len(list(root.glob("backup-*/letter.txt"))) == 3


def test_folders_of_a_backup_that_is_under_way_stay(root: Path, stocked: Library, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    held = root / f"backup-{pid}-{'0' * 16}"  # of a process that is not seen from here, as in another container
    held.mkdir()
    lock = os.open(held, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        back_up(LibraryConfig(root), tmp_path / "file.tar")
        assert held.exists()
    finally:
        os.close(lock)


def test_a_deletion_after_the_copy_takes_nothing_away(
    root: Path, stocked: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space
) -> None:
    from index import backup

    write = backup._write

    def delete_first(*arguments: object) -> int:
        for record in stocked.list_images(limit=1000).items:
            stocked.delete_image(record.id)
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "_write", delete_first)
    ids = list(contents(stocked))
    back_up(LibraryConfig(root), tmp_path / "file.tar")
    with pytest.raises(RecordNotFound):
        stocked.get_image(ids[0])
    restore(tmp_path / "file.tar", tmp_path / "new")
    with open_library(LibraryConfig(tmp_path / "new"), space) as restored:
        assert list(contents(restored)) == ids


def test_where_there_are_no_links_content_is_copied_while_others_write(
    root: Path, stocked: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile, copied = shutil.copyfile, []

    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "There are no links here")

    def copy(source: Path, target: Path) -> None:
        copied.append(source)
        image_id = stocked.list_images(limit=1).items[0].id
        stocked.update_image(image_id, lambda record: {**record.metadata, "n": len(copied)})  # nobody has the lock
        copyfile(source, target)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "copyfile", copy)
    assert back_up(LibraryConfig(root), tmp_path / "file.tar").files == 41
    assert len(copied) == 40
