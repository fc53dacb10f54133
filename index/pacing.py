"""Work in the background at no more than a certain rate, so that whoever searches hardly notices."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Is told how much of how many is done."""


class Pace:
    """Counts what is done of a total, tells it, and says how long to rest."""

    def __init__(self, rate: float | None, progress: Progress) -> None:
        """`rate` is how much may be done in a second at most; None: as fast as can be."""
        self._rate = rate
        self._progress = progress
        self._begun = time.monotonic()
        self._done = 0
        self._total = 0

    def begin(self, total: int) -> None:
        """Start, or start anew, with so much to do."""
        self._begun = time.monotonic()
        self._done, self._total = 0, total
        self._progress(0, total)

    def done(self, count: int) -> float:
        """Note that so much more is done; return how many seconds to rest now."""
        self._done += count
        self._total = max(self._total, self._done)
        self._progress(self._done, self._total)
        if self._rate is None:
            return 0.0
        return max(0.0, self._begun + self._done / self._rate - time.monotonic())
