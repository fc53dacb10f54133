"""Content stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from index.types import Content, ContentKind, EngineState


@dataclass(frozen=True)
class ContentStat:
    """What a content store knows of a file: its bytes, and when it was written, in seconds since the epoch."""

    size: int
    modified: float


class ContentStore(Protocol):
    """Up to two files, content and thumbnail, for each SHA-256 of a content. Thread-safe, and safe between processes.

    Files that were put are never changed. An empty one counts as missing: no image is empty. Methods raise ValueError
    for what is no SHA-256 in lower-case hexadecimal, StorageFailed, and EngineAway if it is on other machines.
    """

    def open(self, sha256: str, kind: ContentKind) -> Content:
        """Open a file; FileNotFoundError. Deleting it afterwards takes nothing from whoever has it open."""

    def stat(self, sha256: str, kind: ContentKind) -> ContentStat | None:
        """Return what is known of a file without reading it; None if it is missing."""

    def location(self, sha256: str, kind: ContentKind) -> str:
        """Return where a file is, or would be, in words for people: a path or a URL without secrets."""

    def signed_url(self, sha256: str, kind: ContentKind, seconds: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL at which anyone can read a file for so many seconds; None if there is none, or no such file.

        It is a secret. `headers` are those to be answered with it: Content-Type, Content-Disposition, Cache-Control.
        """

    def put_many(self, items: Mapping[str, tuple[bytes | None, bytes | None]]) -> None:
        """Store content and thumbnail for each digest; durable on return. Repairs files of another size.

        None in place of one of them: it is not to be stored. The content is kept elsewhere then.
        """

    def has_copy(self, sha256: str) -> bool:
        """Tell whether the store has the content itself, rather than where it is kept elsewhere."""

    def delete(self, sha256: str) -> None:
        """Remove content and thumbnail, if they are there."""

    def set_aside(self, sha256: str, kind: ContentKind) -> None:
        """Move a damaged file to where it does no harm, and nobody deletes it; `put_many` writes it anew then."""

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests last written before `timestamp` (since the epoch); some may come twice.

        Whatever `put_many` was given counts as written by that call, even if it was there already.
        """

    def sweep_unfinished(self, timestamp: float) -> int:
        """Remove what writers that died before `timestamp` left unfinished; return how many files that was."""

    def engine(self) -> EngineState | None:
        """Return how the engine does; None if it is a part of this process. Asks nothing."""

    def is_empty(self) -> bool:
        """Tell whether there is neither a content nor a thumbnail."""
