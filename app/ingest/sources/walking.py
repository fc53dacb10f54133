"""What lies in a folder in place, found without reading a file."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from app.ingest.folders import PICTURE_ENDINGS, holds_library, reason_to_leave_out
from index import Signature, signature_of

TOP = "."
"""The root among the folders of a walk."""


@dataclass
class Walk:
    """One walk over a source: iterate over `files`, and look at the rest afterwards.

    The rules are those of `visem add FOLDER`, but for links: none is followed, so that nothing outside the root is
    seen. `links` counts what is a link. `passed_by` counts what else is no picture, special files too, by ending in
    lower case, and `left_out` says of folders why they are not entered. `mounts` are the folders on which something is
    mounted, `unreadable` is what could not be listed, and why. `complete`: it came to its end.
    """

    root: str
    without: Path
    stop: Callable[[], bool]
    mounts: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    links: int = 0
    passed_by: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    _devices: dict[str, tuple[int, int]] = field(default_factory=dict)  # and inodes, of the root and of mounts

    def files(self) -> Iterator[tuple[str, Signature, bool]]:
        """Yield files that may be pictures: path below the root, signature, and whether their ending says so.

        OSError if the root itself cannot be listed.
        """
        top = Path(self.root).lstat()
        if not stat.S_ISDIR(top.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "It is no folder (any more)", self.root)
        mounted = _mounted_below(self.root)
        self._devices[TOP] = (top.st_dev, top.st_ino)
        if TOP in mounted or top.st_dev != Path(self.root).parent.stat().st_dev:
            self.mounts.add(TOP)
        library = self.without.stat() if self.without.exists() else None
        waiting = [("", top.st_dev)]
        while waiting and not self.stop():
            folder, device = waiting.pop()
            try:
                with os.scandir(os.path.join(self.root, folder)) as entries:  # noqa: PTH118
                    listed = sorted((entry for entry in entries if not entry.name.startswith(".")), key=_name)
            except OSError as error:
                if not folder:
                    raise
                self.unreadable[folder] = error.strerror or str(error)
                continue
            if holds_library({entry.name for entry in listed}):
                self.left_out[folder or TOP] = "a library of Visem"
                continue
            folders: list[tuple[str, int]] = []
            for entry in listed:
                if self.stop():
                    return
                path = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    if entry.is_symlink():
                        self.links += 1
                        continue
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # gone since
                    continue
                except OSError as error:
                    self.unreadable[path] = error.strerror or str(error)
                    continue
                ending = PurePath(entry.name).suffix.lower()
                if stat.S_ISDIR(status.st_mode):
                    if (reason := reason_to_leave_out(entry.name)) is not None:
                        self.left_out[path] = reason
                    elif not (library and os.path.samestat(status, library)):
                        folders.append((path, status.st_dev))
                        if status.st_dev != device or path in mounted:
                            self.mounts.add(path)
                            self._devices[path] = (status.st_dev, status.st_ino)
                elif stat.S_ISREG(status.st_mode) and (ending in PICTURE_ENDINGS or not ending):
                    yield path, signature_of(status), bool(ending)
                else:
                    self.passed_by[ending] += 1
            waiting += reversed(folders)
        self.complete = not waiting

    def is_still_there(self) -> bool:
        """Tell whether the root, and all that is mounted in it, are the folders that were gone through."""
        for folder, identity in self._devices.items():
            try:
                status = Path(self.root, folder).lstat()
            except OSError:
                return False
            if (status.st_dev, status.st_ino) != identity:
                return False
        return True


def beneath(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or in it."""
    return folder == TOP or path == folder or path.startswith(f"{folder}/")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _mounted_below(root: str) -> set[str]:
    """Return the folders of a root on which something is mounted, perhaps from the same device; none if unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    points = (re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split()[4]) for line in lines)
    top = os.fsencode(root)
    return {
        TOP if point == top else os.fsdecode(point[len(top) + 1 :])
        for point in points
        if point == top or point.startswith(top + b"/")
    }
