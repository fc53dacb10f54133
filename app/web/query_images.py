"""Images that a search starts from and that are not stored. They stay in memory so that the page can be reloaded."""

from __future__ import annotations

import secrets
import threading

from cachetools import LRUCache

MAX_BYTES = 64 * 1024 * 1024
"""Of all images together; the one that was used least recently goes first."""

SIDE = 1024
"""Largest longer side of an image in pixels: more than any backbone reads."""


class QueryImages:
    """Images by random token. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)

    def hold(self, jpeg: bytes) -> str:
        """Keep a JPEG of at most `max_bytes`, and return its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._pictures[token] = jpeg
        return token

    def get(self, token: str) -> bytes | None:
        """The JPEG of a token; None if it is not in memory any more."""
        with self._lock:
            return self._pictures.get(token)
