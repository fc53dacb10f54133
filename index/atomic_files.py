"""Writing files so that a reader, or a restart after a crash, finds a whole file or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

PRIVATE_FOLDER = 0o700
"""The mode of the folders of a library, which hold people's photographs."""

PRIVATE_FILE = 0o600
"""The mode of the files of a library."""

_UNFINISHED = ".unfinished"
_SLICE = 1024 * 1024  # bytes to the system at a time, some tenths of a millisecond in which it gives the core to nobody
_SYNCHRONISERS = 8  # fsyncs at a time: the file system commits them together, measured 5 times as fast as in turn


def write_atomically(path: Path, parts: Iterable[bytes | memoryview[int]], incoming: Path) -> None:
    """Write the parts one after another, synchronise, and move the file to `path`.

    `incoming` is a directory on the same file system for the unfinished file. The move itself is durable once
    the directory of `path` is synchronised too.
    """
    unfinished = _write(parts, incoming)
    try:
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_all(files: Mapping[Path, bytes], directories: Iterable[Path], incoming: Path) -> None:
    """Write many files as `write_atomically` does, then make them and these directories durable."""
    with ThreadPoolExecutor(_SYNCHRONISERS) as pool:
        writing = [(path, pool.submit(_write, [data], incoming)) for path, data in files.items()]
        try:
            for path, unfinished in writing:
                unfinished.result().replace(path)
        except BaseException:
            for _, unfinished in writing:
                if not unfinished.cancel() and unfinished.exception() is None:
                    unfinished.result().unlink(missing_ok=True)
            raise
        list(pool.map(sync_directory, directories))


def publish(unfinished: Path, target: Path) -> None:
    """Give a finished file its name, and never the place of another; FileExistsError if somebody was faster.

    Where the file system has links, `unfinished` is there as well afterwards.
    """
    try:
        os.link(unfinished, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(17, "There is such a file already", str(target)) from None
        unfinished.rename(target)


def sync_directory(path: Path) -> None:
    """Make what was created, moved or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def older(path: Path, timestamp: float) -> bool:
    """Tell whether the file was last written before `timestamp` (since the epoch); False if it is gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < timestamp
    return False


def make_private(root: Path, names: Iterable[str]) -> None:
    """Take away from everybody but the owner what they may do in a folder and with these files and folders in it.

    What another user owns stays as it is, and what links point to. A folder that is private already is not looked
    into: everything in it was written that way. Nor is one on a file system without modes, where nothing can be done.
    """
    for path in (*(root / name for name in names), root):
        with suppress(OSError):
            status = path.lstat()
            if not status.st_mode & 0o077 or path.is_symlink():
                continue
            if path != root and path.is_dir():
                path.chmod(PRIVATE_FOLDER)  # from now on nobody else gets at what is in it
                if path.lstat().st_mode & 0o077:
                    continue
                for folder, _, files in os.walk(path, topdown=False):
                    for name in files:
                        if not Path(folder, name).is_symlink():
                            Path(folder, name).chmod(PRIVATE_FILE)
                    Path(folder).chmod(PRIVATE_FOLDER)
            else:
                path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def remove_unfinished(incoming: Path, timestamp: float) -> int:
    """Remove files that their writers, dead since before `timestamp`, never finished; return how many."""
    removed = 0
    for path in incoming.glob(f"*{_UNFINISHED}"):
        if older(path, timestamp):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _write(parts: Iterable[bytes | memoryview[int]], incoming: Path) -> Path:
    """Write a file with a name of its own, synchronise it, and return its path."""
    unfinished = incoming / f"{secrets.token_hex(16)}{_UNFINISHED}"
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
            for part in parts:
                whole = memoryview(part)
                for start in range(0, len(whole), _SLICE):
                    file.write(whole[start : start + _SLICE])
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished
