"""Folders whose pictures stay where they are, and the files in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

FileState = Literal["present", "missing", "refused", "skipped", "deleted"]
"""What became of a file in a source: an image is made of it; it was, and is not there any more; it could not be made
into one; it is no picture; somebody deleted its image, and it is not added again."""


SourceState = Literal["new", "ready", "away"]
"""Whether a source was never gone through, was, or was not there the last time somebody looked."""


class Signature(NamedTuple):
    """What tells, without reading it, that a file is still the same: bytes, nanoseconds since the epoch, inode."""

    size: int
    mtime_ns: int
    inode: int


class KnownFile(NamedTuple):
    """What is remembered of a file: what it looked like, what became of it, and the code if it was refused."""

    signature: Signature
    state: FileState
    code: str | None


@dataclass(frozen=True)
class Source:
    """A folder whose pictures stay where they are. `root` is its path, `mounts` are folders in it on other devices.

    `reason` says why it is away; `finished_at` is when the last complete pass over it ended, in UTC.
    """

    id: str
    root: str
    paused: bool
    state: SourceState
    reason: str | None
    finished_at: datetime | None
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileInPlace:
    """A file in a source, by its path below the root, as it looked while its bytes were read."""

    source_id: str
    path: str
    signature: Signature


@dataclass(frozen=True)
class RefusedFile:
    """A file in a source that makes no image; `code` and `reason` say why. `skipped`: it is no picture at all."""

    path: str
    signature: Signature
    code: str | None
    reason: str | None
    skipped: bool = False


@dataclass(frozen=True)
class SourceFile:
    """A file in a source, and what became of it. `missing_since` is when the last file of its image went, in UTC."""

    source_id: str
    path: str
    signature: Signature
    state: FileState
    image_id: str | None
    code: str | None
    reason: str | None
    missing_since: datetime | None


@dataclass(frozen=True)
class Location:
    """Where content is that the library has no copy of: a path below a root, and what the file has to look like."""

    root: str
    path: str
    signature: Signature
