"""Vector indexes on disk: a cache that may be deleted, and is believed only if provably of this catalog.

A snapshot is one file: a line that names the format, a line of JSON that says what it is a snapshot of, then
the bytes of the index. It is used only if

- the payload has the recorded SHA-256 (FAISS would follow damaged lengths anywhere),
- library, generation, collection and dimension are those of the catalog, and
- its last key stands for the same random id in the catalog: a catalog restored from a backup, or a copy that
  went its own way, has given that key to something else.

Whoever loads it then replays the changes since, and compares the keys.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from index.atomic_files import PRIVATE_FOLDER, write_atomically
from index.interfaces import Position
from index.types import Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_FORMAT = b"visem-vector-index 1\n"
_MAX_HEADER = 4096

_log = logging.getLogger(__name__)


class SnapshotHeader(BaseModel):
    """What a snapshot is a snapshot of. `anchor` is the id that the last key stands for, "" if none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    library_id: str
    target: Target
    generation: int
    dimension: int
    key: int
    deletion: int
    anchor: str
    recall: float
    sha256: str = ""

    @property
    def position(self) -> Position:
        """Up to where the snapshot has followed the catalog."""
        return Position(self.generation, self.key, self.deletion)


def write_snapshot(path: Path, header: SnapshotHeader, payload: npt.NDArray[np.uint8]) -> None:
    """Replace the snapshot at `path` in one step; an OSError leaves the old one."""
    path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    complete = header.model_copy(update={"sha256": hashlib.sha256(payload.data).hexdigest()})
    parts: list[bytes | memoryview[int]] = [_FORMAT, complete.model_dump_json().encode(), b"\n", payload.data]
    write_atomically(path, parts, path.parent)


def read_header(path: Path) -> SnapshotHeader | None:
    """Return what the snapshot at `path` says of itself; None if there is none, or an unreadable one."""
    try:
        with path.open("rb") as file:
            return _header(file)
    except (OSError, ValidationError) as error:
        _tell(path, error)
        return None


def read_snapshot(path: Path) -> tuple[SnapshotHeader, npt.NDArray[np.uint8]] | None:
    """Return the header and the undamaged payload of the snapshot at `path`; None if there is none."""
    import numpy as np

    try:
        with path.open("rb") as file:
            header = _header(file)
            payload = np.fromfile(file, dtype=np.uint8)
    except (OSError, ValidationError) as error:
        _tell(path, error)
        return None
    if header is None or hashlib.sha256(payload.data).hexdigest() != header.sha256:
        _log.warning("The vector index %s is damaged; it is rebuilt from the catalog.", path)
        return None
    return header, payload


def _header(file: BinaryIO) -> SnapshotHeader | None:
    if file.readline(_MAX_HEADER) != _FORMAT:
        return None
    return SnapshotHeader.model_validate_json(file.readline(_MAX_HEADER))


def _tell(path: Path, error: Exception) -> None:
    if not isinstance(error, FileNotFoundError):
        _log.warning("The vector index %s cannot be read; it is rebuilt from the catalog: %s", path, error)
