"""Files that are open for reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from index.types.basics import ContentKind
from index.types.records import ImageRecord


class Content(Protocol):
    """A file that is open: it can be read to its end, even if it is deleted meanwhile. Thread-safe."""

    @property
    def size(self) -> int:
        """How many bytes it has; never 0."""

    @property
    def modified(self) -> float:
        """When it was written, in seconds since the epoch."""

    @property
    def path(self) -> Path | None:
        """Where the file is, if it is a file of this machine: to show, or for tools that want a path."""

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to the end of the file. StorageFailed."""

    def close(self) -> None:
        """Give up what it takes to read. Idempotent."""


@dataclass(frozen=True)
class ImageFile:
    """One of the two files of an image, open until `close`; a context manager.

    `lasting`: the image never has another content. One in place has, when its file is changed.
    """

    record: ImageRecord
    kind: ContentKind
    media_type: str
    content: Content
    lasting: bool = True

    def close(self) -> None:
        """Close the file. Idempotent."""
        self.content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
