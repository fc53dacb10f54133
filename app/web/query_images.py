"""Photographs that a search starts from without being stored: held in memory, so that its address can be reloaded."""

from __future__ import annotations

import secrets
import threading

from cachetools import LRUCache

MAX_BYTES = 64 * 1024 * 1024
"""Of all held pictures together; the one that was looked at longest ago goes first."""

SIDE = 1024
"""Pixels of a held picture's longer side, at most: more than any backbone looks at."""


class HeldPictures:
    """Pictures by random token. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)

    def hold(self, jpeg: bytes) -> str:
        """Keep a JPEG, which must not be larger than all may be together. Its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._pictures[token] = jpeg
        return token

    def get(self, token: str) -> bytes | None:
        """The JPEG of a token; None when it is not held any more."""
        with self._lock:
            return self._pictures.get(token)
