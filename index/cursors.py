"""Opaque cursors: where a page ended, tied to the query that it belongs to.

A cursor holds a position, not an offset. What is deleted between two pages is missed by nobody, and nothing
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

_LIST = struct.Struct("<c16sq")
_SEARCH = struct.Struct("<c16sqfI")


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
    """The key of the last record on the page."""

    key: int

    def encode(self, query: bytes) -> str:
        """Return the cursor as URL-safe text, tied to the fingerprint of its query."""
        return _to_text(_LIST.pack(b"L", query, self.key))

    @staticmethod
    def decode(text: str, query: bytes) -> ListCursor:
        """Read a cursor; InvalidCursor unless it was made for this query."""
        (key,) = _from_text(text, _LIST, b"L", query)
        return ListCursor(key)


@dataclass(frozen=True)
class SearchCursor:
    """The last hit on the page, and how many hits there were up to it (a hint where to look)."""

    key: int
    score: float
    rank: int

    def encode(self, query: bytes) -> str:
        """Return the cursor as URL-safe text, tied to the fingerprint of its query."""
        return _to_text(_SEARCH.pack(b"S", query, self.key, self.score, min(self.rank, 2**32 - 1)))

    @staticmethod
    def decode(text: str, query: bytes) -> SearchCursor:
        """Read a cursor; InvalidCursor unless it was made for this query."""
        key, score, rank = _from_text(text, _SEARCH, b"S", query)
        if score != score:  # NaN: nothing would come before or after it
            raise InvalidCursor
        return SearchCursor(key, score, rank)


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str, layout: struct.Struct, kind: bytes, query: bytes) -> tuple[Any, ...]:
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found_kind, found_query, *position = layout.unpack(data)
    except (ValueError, binascii.Error, struct.error) as error:
        raise InvalidCursor from error
    if found_kind != kind or found_query != query:
        raise InvalidCursor
    return tuple(position)
