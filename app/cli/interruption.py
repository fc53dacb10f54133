"""Ctrl-C and SIGTERM: the first one ends a command in order, the second at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

from app.cli.output import say

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within it, the first signal only sets `requested`, so that what is under way is finished and counted.

    The second one raises KeyboardInterrupt. Outside the main thread signals are somebody else's.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        say("Stopping. What has been read is finished first; once more stops at once.")


def interrupt_on_sigterm() -> None:
    """Have SIGTERM do what Ctrl-C does, instead of ending the process on the spot."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
