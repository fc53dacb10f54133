"""The container of an exported library: a plain tar file, written and read from front to back.

    library.json                what it is: format, version, space, counts
    SHA256SUMS                  of library.json
    000001/images.jsonl         the records of a part, a line each
    000001/images.npy           their vectors: float16, (n, D), in the same order
    000001/content/SHA256       …
    000001/thumbnails/SHA256.jpg
    000001/SHA256SUMS           of all files of the part
    …
    end.json                    counts, and the SHA-256 of all SHA256SUMS, one after another

Readers hold one part in memory, and use none of it before all of its sums are right. They take regular files with these
names only: no other kind of member, no extended headers, no size beyond the limits.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from index.types.moving import Counts, End, Header

if TYPE_CHECKING:
    from hashlib import _Hash

PART_BYTES = 32 * 2**20
"""How much content a writer puts into a part, unless it is one image."""

LARGEST_CONTENT = 2**30
"""How large an image may be."""

_MOST_BYTES = 256 * 2**20  # of a part, but for its largest content
_MOST_FILES = 4096  # of a part
_LINES = 128 * 2**20  # bytes of records, or of vectors, in a part
_SMALL = 2**20
_THUMBNAIL = 4 * 2**20
_CHUNK = 2**20
_BLOCK = tarfile.BLOCKSIZE
_NAME = re.compile(
    r"(?P<part>[0-9]{6,9})/(?:SHA256SUMS|(?P<lines>(?:sources|files|images|sentences)\.jsonl|(?:images|sentences)\.npy)"
    r"|content/(?P<content>[0-9a-f]{64})|thumbnails/(?P<thumbnail>[0-9a-f]{64})\.jpg)"
)
_SUM = re.compile(r"([0-9a-f]{64})  (\S{1,200})")


class DamagedError(Exception):
    """What is read is no archive, or not all of one: the message says why."""


@dataclass(frozen=True)
class Beginning:
    """The header of an archive and the whole parts behind it: how many, their bytes, and the digest of their sums."""

    parts: int
    size: int
    digest: _Hash


class ArchiveWriter:
    """Writes an archive to a file."""

    def __init__(self, file: IO[bytes], header: Header, after: Beginning | None = None) -> None:
        """Begin an archive; or go on with one `after` what the file has of it: the rest of the file is removed."""
        self._file = file
        self._parts = after.parts if after else 0
        self._digest = after.digest.copy() if after else hashlib.sha256()
        self._time = int(time.time())
        if after is None:
            self._add_all("", {"library.json": _document(header)})
        else:
            file.seek(after.size)
            file.truncate()

    def part(self, files: Mapping[str, bytes]) -> None:
        """Add a part: its files by their names below it."""
        self._parts += 1
        self._add_all(f"{self._parts:06}/", files)

    def end(self, counts: Counts) -> None:
        """Add what makes the archive complete."""
        self._add("end.json", _document(End(parts=self._parts, counts=counts, sha256=self._digest.hexdigest())))
        self._file.write(bytes(2 * _BLOCK))

    def _add_all(self, folder: str, files: Mapping[str, bytes]) -> None:
        lines = []
        for name, data in files.items():
            self._add(folder + name, data)
            lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        sums = "".join(lines).encode()
        self._add(f"{folder}SHA256SUMS", sums)
        self._digest.update(sums)

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o600
        member.mtime = self._time
        self._file.write(member.tobuf(tarfile.USTAR_FORMAT))
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))


class ArchiveReader:
    """Reads an archive from a file, which need not be seekable. All methods raise DamagedError."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the header."""
        self._file = file
        self._digest = hashlib.sha256()
        self._parts = 0
        self._end: End | None = None
        name, size = self._member()
        if name != "library.json":
            raise DamagedError("it does not begin with library.json (`visem restore` is for backups)")
        data = self._read(name, size, _SMALL)
        name, size = self._member()
        if name != "SHA256SUMS":
            raise DamagedError(f"{name!r} does not belong there")
        self._verify("", {"library.json": data}, self._read(name, size, _SMALL))
        try:
            self.header = Header.model_validate_json(data)
        except ValidationError as error:
            if any(problem["loc"] in (("format",), ("version",)) for problem in error.errors(include_input=False)):
                raise DamagedError("it is of another kind, or of a newer version of Visem") from error
            raise DamagedError(f"library.json: {first_problem(error)}") from error

    @property
    def counts(self) -> Counts:
        """What is in the archive, once all parts have been read."""
        if self._end is None:
            raise DamagedError("it was not read to its end")
        return self._end.counts

    @property
    def beginning(self) -> Beginning:
        """What was read so far of an archive in a seekable file, between two parts."""
        return Beginning(self._parts, self._file.tell(), self._digest.copy())

    def parts(self) -> Iterator[dict[str, bytes]]:
        """Yield the files of each part, all of whose sums are right, by their names below it."""
        number, files, total, largest = 1, dict[str, bytes](), 0, 0
        while True:
            name, size = self._member()
            if name == "end.json":
                if files:
                    raise DamagedError(f"part {number} is not complete")
                self._finish(number - 1, self._read(name, size, _SMALL))
                return
            found = _NAME.fullmatch(name)
            if found is None or int(found["part"]) != number or found["part"] != f"{number:06}":
                raise DamagedError(f"{name!r} does not belong there")
            below = name.partition("/")[2]
            if below == "SHA256SUMS":
                self._verify(f"{number:06}/", files, self._read(name, size, _SMALL))
                self._parts = number
                yield files
                number, files, total, largest = number + 1, {}, 0, 0
                continue
            total += size
            largest = max(largest, size if found["content"] else 0)
            if below in files or len(files) >= _MOST_FILES or total - largest > _MOST_BYTES:
                raise DamagedError(f"{name!r} does not belong there, or part {number} is too large")
            limit = LARGEST_CONTENT if found["content"] else _THUMBNAIL if found["thumbnail"] else _LINES
            files[below] = self._read(name, size, limit)

    def _finish(self, parts: int, data: bytes) -> None:
        try:
            end = End.model_validate_json(data)
        except ValidationError as error:
            raise DamagedError(f"end.json: {first_problem(error)}") from error
        if end.parts != parts or end.sha256 != self._digest.hexdigest():
            raise DamagedError("its parts are not those that were exported")
        rest = self._file.read(3 * _BLOCK)
        if len(rest) < 2 * _BLOCK or rest.strip(b"\0") or self._file.read(1).strip(b"\0"):
            raise DamagedError("there is something behind its end, or its end is missing")
        self._end = end

    def _verify(self, folder: str, files: Mapping[str, bytes], sums: bytes) -> None:
        """Raise DamagedError unless the sums are of these files, and contents have the names that they should have."""
        self._digest.update(sums)
        listed: dict[str, str] = {}
        for line in sums.decode("ascii", "replace").splitlines():
            found = _SUM.fullmatch(line)
            if found is None or found[2] in listed:
                raise DamagedError(f"{folder}SHA256SUMS is no such list")
            listed[found[2]] = found[1]
        if listed.keys() != files.keys():
            raise DamagedError(f"{folder}SHA256SUMS does not list the files that are there")
        for name, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            if listed[name] != digest or (name.startswith("content/") and name != f"content/{digest}"):
                raise DamagedError(f"{folder}{name} is not what was exported")

    def _member(self) -> tuple[str, int]:
        """Return name and size of the next member."""
        block = self._exactly(_BLOCK)
        try:
            member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            plain = member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") == block
        except (tarfile.HeaderError, UnicodeError, ValueError) as error:
            raise DamagedError("it is no tar file, or damaged") from error
        if not plain or member.type != tarfile.REGTYPE or member.linkname or member.size < 0:
            raise DamagedError(f"{member.name!r} does not belong there")
        return member.name, member.size

    def _read(self, name: str, size: int, limit: int) -> bytes:
        if size > limit:
            raise DamagedError(f"{name!r} is too large")
        data = self._exactly(size)
        if self._exactly(-size % _BLOCK).strip(b"\0"):
            raise DamagedError(f"there is something behind {name!r}")
        return data

    def _exactly(self, size: int) -> bytes:
        """Return so many bytes. Memory is taken as they come: what a header claims need not be there."""
        parts: list[bytes] = []
        missing = size
        while missing:
            part = self._file.read(min(missing, _CHUNK))
            if not part:
                raise DamagedError("it ends too early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a document, for people, without what stands there."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])


def _document(model: Header | End) -> bytes:
    return model.model_dump_json(indent=2).encode() + b"\n"
