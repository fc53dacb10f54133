"""How far a pass over a source is, what it found, and what it is asked to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from index import ImageRecord

Became = Literal["created", "changed", "recognised", "refused"]


@dataclass(frozen=True)
class FileOutcome:
    """What a pass made of one file that it read. `recognised`: the library had an image with this content."""

    path: str
    status: Became
    record: ImageRecord | None = None
    code: str | None = None
    reason: str | None = None


@dataclass
class PassProgress:
    """How far a pass is, and what it found; it is read while it changes.

    `unchanged`, `skipped`, `created`, `changed`, `recognised`, `refused`, `ignored` and `deferred` count the files
    that are there, each once; `returned` are those among `unchanged` that had been missing. `ignored` are files whose
    image somebody deleted, `deferred` those that are still being written. `missing` and `pruned` count images. `away`
    says why nothing could be done. `kept` says, by folder, why files in it that are not to be seen count as there.
    """

    started: float = field(default_factory=time.monotonic)
    phase: Literal["looking", "adding", "done", "stopped"] = "looking"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    seen: int = 0
    unchanged: int = 0
    returned: int = 0
    created: int = 0
    changed: int = 0
    recognised: int = 0
    refused: int = 0
    ignored: int = 0
    skipped: int = 0
    deferred: int = 0
    missing: int = 0
    pruned: int = 0
    links: int = 0
    away: str | None = None
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Files read a second."""
        elapsed = (self.seconds or time.monotonic() - self.started) if self.phase != "looking" else 0.0
        return self.done / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take at this rate; None while nobody knows."""
        return (self.total - self.done) / self.rate if self.phase == "adding" and self.done else None


@dataclass(frozen=True)
class PassOptions:
    """How to go over a source. `retry`: try refused files again though they are unchanged; `prune`: delete what is
    missing at once; `settle_seconds`: leave files alone that were changed so recently."""

    retry: bool = False
    prune: bool = False
    settle_seconds: float = 0.0
