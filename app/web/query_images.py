"""Images that a search starts from and that are not stored. They stay for a while so that the page can be reloaded."""

from __future__ import annotations

import secrets
import threading

from cachetools import LRUCache

from app.shared.group import WorkerGroup

MAX_BYTES = 64 * 1024 * 1024
"""Of all images together; the one that was used least recently goes first."""

SIDE = 1024
"""Largest longer side of an image in pixels: more than any backbone reads."""


class QueryImages:
    """Images by random token: in memory, or where all workers of a group find them. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES, group: WorkerGroup | None = None) -> None:
        self._lock = threading.Lock()
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._shared = None if group is None else group.images(max_bytes)

    def hold(self, jpeg: bytes) -> str:
        """Keep a JPEG of at most `max_bytes`, and return its token."""
        token = secrets.token_urlsafe(12)
        if self._shared is not None:
            self._shared.keep(token, jpeg)
        else:
            with self._lock:
                self._pictures[token] = jpeg
        return token

    def get(self, token: str) -> bytes | None:
        """The JPEG of a token; None if it is not kept any more."""
        if self._shared is not None:
            return self._shared.get(token)
        with self._lock:
            return self._pictures.get(token)
