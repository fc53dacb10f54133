"""How far a command has come, on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from app.cli.output import say

if TYPE_CHECKING:
    from rich.progress import Task

LINE_INTERVAL = 5.0
"""Seconds between lines where there is no terminal."""


class Reporter(Protocol):
    """Told of progress."""

    def update(self, done: int, total: int | None) -> None:
        """`done` of `total` are done; None while nobody knows how many there are."""

    def note(self, line: str) -> None:
        """Show a line above the bar."""

    def restart(self) -> None:
        """Something else begins, with a speed of its own."""


@contextmanager
def progress(what: str, unit: str) -> Iterator[Reporter]:
    """Report on something that goes on: `what` is done to `unit` (a plural)."""
    if sys.stderr.isatty():
        with _bar(what, unit) as bar:
            yield bar
    else:
        yield LineReporter(what, unit)


class LineReporter:
    """A line every few seconds: how many, how fast lately, how long still."""

    def __init__(self, what: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._unit = unit
        self._clock = clock
        self._last: tuple[float, int] | None = None  # when, and how many were done then

    def update(self, done: int, total: int | None) -> None:
        """Print a line if the last one is long ago."""
        now = self._clock()
        if self._last is None:  # loading the model, and what an earlier run had done, say nothing about the speed
            self._last = now, done
        last_time, last_done = self._last
        elapsed = now - last_time
        if elapsed < LINE_INTERVAL:
            return
        rate = (done - last_done) / elapsed
        self._last = now, done
        of = "" if total is None else f" of {total:,}"
        line = f"{self._what}: {done:,}{of} {self._unit}, {rate:.1f}/s"
        if total is not None and rate > 0:
            line += f", {duration((total - done) / rate)} left"
        say(line)

    def note(self, line: str) -> None:
        """Print the line."""
        say(line)

    def restart(self) -> None:
        """Forget how fast it was."""
        self._last = None


def duration(seconds: float) -> str:
    """`0:02:05`."""
    return str(timedelta(seconds=max(0, round(seconds))))


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Reporter]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s")

    class CountColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            of = "" if task.total is None else f" of {task.total:,.0f}"
            return Text(f"{task.completed:,.0f}{of} {unit}")

    class BarReporter:
        def update(self, done: int, total: int | None) -> None:
            bar.update(task_id, completed=done, total=total)

        def note(self, line: str) -> None:
            bar.console.print(escape(line), highlight=False, soft_wrap=True)

        def restart(self) -> None:
            bar.reset(task_id)

    columns = (TextColumn("{task.description}"), BarColumn(), CountColumn(), RateColumn())
    # Drawing takes the time of a core that embeds: a few times a second is enough.
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), refresh_per_second=4, transient=True
    ) as bar:
        task_id = bar.add_task(what, total=None)
        yield BarReporter()
