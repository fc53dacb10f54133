"""Ctrl-C and SIGTERM: the first one ends a command in order, the second at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        say("Stopping. The files at hand are finished first; once more stops at once.")


@dataclass
class Ending:
    """How a batch ended: early because of a signal, with an error, or neither; and after how many seconds."""

    interrupted: bool = False
    failure: Exception | None = None
    seconds: float = 0.0


@contextmanager
def batch(report: Callable[[Ending], None]) -> Iterator[Interruption]:
    """A batch of files that signals may end, also the second one; `report` is called whatever ends it."""
    ending = Ending()
    started = time.monotonic()
    try:
        with Interruption() as interruption:
            yield interruption
            ending.interrupted = interruption.requested
    except KeyboardInterrupt:
        ending.interrupted = True
    except Exception as error:
        ending.failure = error
        raise
    finally:
        ending.seconds = time.monotonic() - started
        report(ending)


def interrupt_on_sigterm() -> None:
    """Have SIGTERM do what Ctrl-C does, instead of ending the process on the spot."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
