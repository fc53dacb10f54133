"""Photographs that a search starts from without being stored: held in memory, so that its address can be reloaded."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

MAX_BYTES = 64 * 1024 * 1024
"""Of all held pictures together; the one that was looked at longest ago goes first."""

SIDE = 1024
"""Pixels of a held picture's longer side, at most: more than any backbone looks at."""


class HeldPictures:
    """Pictures by random token. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def hold(self, jpeg: bytes) -> str:
        """Keep a JPEG. Its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._pictures[token] = jpeg
            self._size += len(jpeg)
            while self._size > self._max_bytes and len(self._pictures) > 1:
                _, dropped = self._pictures.popitem(last=False)
                self._size -= len(dropped)
        return token

    def get(self, token: str) -> bytes | None:
        """The JPEG of a token; None when it is not held any more."""
        with self._lock:
            if token not in self._pictures:
                return None
            self._pictures.move_to_end(token)
            return self._pictures[token]
