"""Backups of a library in a folder, while others work with it: one file, of one moment, verified when it is restored.

A backup is a tar file. `tar -xf` and `sha256sum -c SHA256SUMS` read it without Visem:

    catalog.sqlite              a copy by SQLite's own backup
    content/, thumbnails/       the files of its images; those in place elsewhere stay with their owner
    SHA256SUMS                  of all the others; it comes last, so what lacks its end lacks this

While the catalog is copied nobody can write, and in that time the content gets hard links, so that a deletion meanwhile
takes nothing away. Then everybody goes on, and the links are read. Where there are no links, content is copied before
that time, and only what is new since is copied in it: content never changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from index.atomic_files import PRIVATE_FOLDER, publish, sync_directory
from index.catalog import StoredFiles, copy_catalog, default_url, open_catalog
from index.errors import BackupDamaged, EngineUnsupported, LibraryNotFound
from index.layout import CATALOG_FILE
from index.opening import LibraryConfig, open_library

_SUMS = "SHA256SUMS"
_MEMBER = re.compile(
    r"catalog\.sqlite|content/([0-9a-f]{2})/\1[0-9a-f]{62}|thumbnails/([0-9a-f]{2})/\2[0-9a-f]{62}\.jpg"
)
_MAX_SUMS = 2**30
_CHUNK = 2**20


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_HELD = re.compile(r"backup-[0-9]+-[0-9a-f]{16}")


@dataclass(frozen=True)
class Backup:
    """What is in a backup: records, files, bytes, and which contents were lost or damaged already."""

    images: int
    sentences: int
    files: int
    size: int
    problems: tuple[str, ...] = ()


def back_up(config: LibraryConfig, target: Path) -> Backup:
    """Write a backup of a library to a file that must not be there yet.

    FileExistsError, OSError; LibraryNotFound, EngineUnsupported, and what opening and reading a library raises.
    """
    _require_folder(config)
    if target.exists():
        raise FileExistsError(17, "There is such a file already, and it is not overwritten", str(target))
    open_library(config).close()  # brings an older one up to date
    with _holding(config.folder) as held:
        problems: list[str] = []
        ahead = set() if _has_links(held) else _copy_ahead(config.folder, held)

        def keep(names: Mapping[str, StoredFiles]) -> None:
            ahead.difference_update(_link(config.folder, held, names, problems))

        images, sentences = copy_catalog(config.folder / CATALOG_FILE, held / CATALOG_FILE, keep)
        for path in ahead:  # what is left of it was deleted since it was copied
            (held / path).unlink()
        unfinished = target.with_name(f"{target.name}.{secrets.token_hex(8)}.unfinished")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
                count = _write(file, held, problems)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            publish(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
        sync_directory(target.absolute().parent)
    return Backup(images, sentences, count, size, tuple(problems))


def restore(source: Path, folder: Path) -> Backup:
    """Make a library of a backup, in a folder that must not be there yet, or is empty. All of it or none.

    FileExistsError, OSError; BackupDamaged if something in it is not what was backed up.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise FileExistsError(17, "It exists already and is not overwritten", str(folder))
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.restoring-", dir=folder.absolute().parent))
    try:
        with source.open("rb") as file:
            try:
                sums = _extract(file, unfinished)
            except (tarfile.TarError, EOFError, UnicodeError) as error:
                raise BackupDamaged(source, str(error) or "it ends too early") from error
            except ValueError as error:
                raise BackupDamaged(source, str(error)) from error
            size = file.seek(0, os.SEEK_END)
        with closing(open_catalog(default_url(unfinished), None, may_create=lambda: False)) as catalog:
            problems = catalog.problems()
            if problems:
                raise BackupDamaged(source, problems[0])
            counts = catalog.images.count({}), catalog.sentences.count({})
        for directory, _, _ in os.walk(unfinished, topdown=False):
            sync_directory(Path(directory))
        unfinished.rename(folder)  # fails where something has come into the folder meanwhile
        sync_directory(folder.absolute().parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Backup(*counts, len(sums), size)


def _require_folder(config: LibraryConfig) -> None:
    if config.catalog is not None:
        raise EngineUnsupported("catalog", config.catalog, "a file in the library's folder (unset) to make backups of")
    if config.content is not None:
        raise EngineUnsupported("content", config.content, "files in the library's folder (unset) to make backups of")
    if not (config.folder / CATALOG_FILE).exists():
        raise LibraryNotFound(config.folder)


@contextmanager
def _holding(folder: Path) -> Iterator[Path]:
    """Give a folder in the library's, so that links can be made; it goes in the end, and so do those of the killed."""
    for left in folder.iterdir():
        if _HELD.fullmatch(left.name) and not _at_work(left):
            shutil.rmtree(left, ignore_errors=True)
    held = folder / f"backup-{os.getpid()}-{secrets.token_hex(8)}"
    held.mkdir(mode=PRIVATE_FOLDER)
    lock = os.open(held, _FOLDER)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield held
    finally:
        shutil.rmtree(held, ignore_errors=True)
        os.close(lock)


def _at_work(held: Path) -> bool:
    """Tell whether a backup may still use its folder: its process runs, here or in another container."""
    try:
        os.kill(int(held.name.split("-")[1]), 0)
    except ProcessLookupError:
        pass
    except (OSError, OverflowError):
        return True
    else:
        return True
    try:
        lock = os.open(held, _FOLDER)
    except OSError:
        return True  # gone, or a link, which is nothing of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _link(folder: Path, held: Path, names: Mapping[str, StoredFiles], problems: list[str]) -> Iterator[Path]:
    """Link, or copy where there are no links, the files of all images that are not there yet; yield their paths.

    `names` tells which files have to be there.
    """
    for sha256, stored in names.items():
        paths = [(Path("thumbnails", sha256[:2], f"{sha256}.jpg"), stored.thumbnail)]
        if stored.content:
            paths.append((Path("content", sha256[:2], sha256), True))
        for path, needed in paths:
            source = folder / path
            if source.is_symlink() or not source.is_file():
                if needed:
                    problems.append(f"{source} is missing.")
                continue
            (held / path).parent.mkdir(parents=True, exist_ok=True)
            yield path
            if not (held / path).exists():
                try:
                    os.link(source, held / path)
                except OSError:
                    shutil.copyfile(source, held / path)


def _has_links(held: Path) -> bool:
    """Tell whether the file system of a folder knows hard links."""
    one, other = held / "one", held / "other"
    one.touch()
    try:
        os.link(one, other)
    except OSError:
        return False
    finally:
        one.unlink()
        other.unlink(missing_ok=True)
    return True


def _copy_ahead(folder: Path, held: Path) -> set[Path]:
    """Copy all content while others go on working, and return the paths; what they delete meanwhile is left out."""
    copied: set[Path] = set()
    for path in _stored(folder):
        (held / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(folder / path, held / path)
        except FileNotFoundError:
            (held / path).unlink(missing_ok=True)
        else:
            copied.add(path)
    return copied


def _stored(folder: Path) -> Iterator[Path]:
    """Yield the content and thumbnails below a folder, as paths below it, without links."""
    for pattern in ("content/*/*", "thumbnails/*/*"):
        for path in folder.glob(pattern):
            if not path.is_symlink() and not path.parent.is_symlink() and path.is_file():
                yield path.relative_to(folder)


def _write(file: IO[bytes], held: Path, problems: list[str]) -> int:
    """Write what is held, and its sums, as a tar file; return how many files there are."""
    sums: list[str] = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(one for one in held.rglob("*") if one.is_file()):
            name = path.relative_to(held).as_posix()
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                if name.startswith("content/") and digest != path.name:
                    problems.append(f"{name} is damaged; `visem info --repair` moves it aside.")
                content.seek(0)
                archive.addfile(_member(name, path.stat().st_size), content)
            sums.append(f"{digest}  {name}\n")
        text = "".join(sums).encode()
        archive.addfile(_member(_SUMS, len(text)), io.BytesIO(text))
    return len(sums)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member


def _extract(file: IO[bytes], folder: Path) -> dict[str, str]:
    """Write all files below a folder; return their sums, all of which are right. ValueError, tarfile.TarError."""
    found: dict[str, str] = {}
    listed: dict[str, str] | None = None
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if member.name == "library.json":
                raise ValueError("it was exported: use `visem import library`")
            if content is None or listed is not None or member.name in found:
                raise ValueError(f"{member.name!r} does not belong there")
            if member.name == _SUMS:
                if member.size > _MAX_SUMS:
                    raise ValueError(f"{_SUMS} is too large")
                lines = content.read().decode("ascii").splitlines()
                listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
                continue
            if not _MEMBER.fullmatch(member.name):
                raise ValueError(f"{member.name!r} does not belong there")
            found[member.name] = _store(content, folder / member.name, member.size)
    if listed is None:
        raise ValueError("it ends too early")
    different = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
    if different:
        raise ValueError(f"{different[0]} is not what was backed up")
    if CATALOG_FILE not in found:
        raise ValueError(f"it has no {CATALOG_FILE}")
    return found


def _store(content: IO[bytes], path: Path, size: int) -> str:
    """Write one file, durably, and return its SHA-256."""
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    written = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            written += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if written != size:
        raise ValueError("it ends too early")
    return digest.hexdigest()
