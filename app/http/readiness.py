"""Readiness: a real check whose outcome is kept for a moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Readiness:
    """Runs a check at most once every `lifetime` seconds, however many ask; they all get its outcome."""

    def __init__(self, check: Callable[[], None], lifetime: float = 1.0) -> None:
        self._check = check
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._expires = float("-inf")

    def failure(self) -> Exception | None:
        """What the check failed with, now or a moment ago; None if it passed. Failures are logged, with reasons."""
        with self._lock:
            if time.monotonic() >= self._expires:
                try:
                    self._check()
                    self._failure = None
                except Exception as error:
                    logger.exception("the readiness check failed")
                    self._failure = error
                self._expires = time.monotonic() + self._lifetime
            return self._failure
