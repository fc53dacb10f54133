"""Opaque cursors: where a page ended, tied to the query that it belongs to.

A cursor holds a position, not an offset. Records deleted between two pages are skipped, and nothing
comes twice; what is added meanwhile shows up if its place in the order is after the cursor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from index.errors import InvalidCursor

_HEAD = struct.Struct("<c16s")
_LIST = struct.Struct("<q?q")
_SEARCH = struct.Struct("<qfI")
_RANKED = struct.Struct("<d")


def fingerprint(*parts: bytes | str) -> bytes:
    """Return 16 bytes that stand for a query: the same for the same parts, in the same order."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.digest()[:16]


@dataclass(frozen=True)
class ListCursor:
    """Where the last record on the page stands: its key, and in a list by time when it was taken, if that is known."""

    key: int
    taken: int | None = None

    def encode(self, query: bytes) -> str:
        """Return the cursor as URL-safe text, tied to the fingerprint of its query."""
        return _to_text(b"L", query, _LIST.pack(self.key, self.taken is not None, self.taken or 0))

    @staticmethod
    def decode(text: str, query: bytes) -> ListCursor:
        """Read a cursor; InvalidCursor unless it was made for this query."""
        key, dated, taken = _unpack(_LIST, _from_text(text, b"L", query))
        return ListCursor(key, taken if dated else None)


@dataclass(frozen=True)
class SearchCursor:
    """The last hit on the page, and how many hits there were up to it (a hint where to look)."""

    key: int
    score: float
    rank: int

    def encode(self, query: bytes) -> str:
        """Return the cursor as URL-safe text, tied to the fingerprint of its query."""
        return _to_text(b"S", query, _SEARCH.pack(self.key, self.score, min(self.rank, 2**32 - 1)))

    @staticmethod
    def decode(text: str, query: bytes) -> SearchCursor:
        """Read a cursor; InvalidCursor unless it was made for this query."""
        key, score, rank = _unpack(_SEARCH, _from_text(text, b"S", query))
        if not -1 <= score <= 1:  # no cosine, or NaN: such a cursor would be looked for to the end of the library
            raise InvalidCursor
        return SearchCursor(key, score, rank)


@dataclass(frozen=True)
class RankedCursor:
    """The last record on a page of what the caller ranked by scores of its own, ties in the order of ids."""

    score: float
    id: str

    def encode(self, query: bytes) -> str:
        """Return the cursor as URL-safe text, tied to the fingerprint of its query."""
        return _to_text(b"R", query, _RANKED.pack(self.score) + self.id.encode())

    @staticmethod
    def decode(text: str, query: bytes) -> RankedCursor:
        """Read a cursor; InvalidCursor unless it was made for this query."""
        position = _from_text(text, b"R", query)
        (score,) = _unpack(_RANKED, position[: _RANKED.size])
        if score != score:  # NaN, as above
            raise InvalidCursor
        return RankedCursor(score, position[_RANKED.size :].decode(errors="replace"))


def _to_text(kind: bytes, query: bytes, position: bytes) -> str:
    return base64.urlsafe_b64encode(_HEAD.pack(kind, query) + position).rstrip(b"=").decode()


def _from_text(text: str, kind: bytes, query: bytes) -> bytes:
    """The position in a cursor of this kind and query; InvalidCursor for any other."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if data[: _HEAD.size] != _HEAD.pack(kind, query):
        raise InvalidCursor
    return data[_HEAD.size :]


def _unpack(layout: struct.Struct, position: bytes) -> tuple[Any, ...]:
    try:
        return layout.unpack(position)
    except struct.error as error:
        raise InvalidCursor from error
