"""Where a run is, for a progress bar or a log line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`step` of `steps` of a stage, in the stage's own units, and at times a message."""

    stage: str
    step: int
    steps: int
    message: str = ""


Report = Callable[[Progress], None]


def counting(report: Report, stage: str) -> Callable[[int, int], None]:
    """A function `(done, total)` that reports the progress of one stage."""
    return lambda done, total: report(Progress(stage, done, total))
