"""What a history is made of: operations, each with the times of its request and of its answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "add",  # an image; value: its id
    "get",  # value: its metadata
    "content",  # value: the SHA-256 of the file that came
    "find",  # search for a picture; value: ids of the hits
    "list",  # value: ids of a page
    "patch",  # value: a key, what it is set to (None: removed), and the metadata of the answer
    "delete",
    "schedule",  # a deletion that can be undone
    "restore",  # undo it
    "set captions",  # value: texts
    "captions",  # value: texts of people's own captions
    "written",  # value: how many captions the captioner wrote
    "say",  # add a sentence; value: its id
    "sentence",
    "unsay",  # delete a sentence
]

READS = frozenset({"get", "content", "find", "list", "captions", "written", "sentence"})


@dataclass(frozen=True)
class Operation:
    """A request about a `subject` (an id; the SHA-256 of what is added), and what came of it.

    `status` is 0 where no answer came, `code` is that of a problem, and `wrong` tells how an answer breaks the rules.
    Times are monotonic, in seconds.
    """

    client: str
    kind: Kind
    subject: str
    invoked: float
    completed: float
    status: int
    code: str = ""
    value: Any = None
    wrong: str = ""
    engine: str = ""  # that is away, as a problem tells

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return 200 <= self.status < 400

    @property
    def absent(self) -> bool:
        """Whether the answer was that there is no such record."""
        return self.status == 404 and self.code == "record_not_found"

    @property
    def uncertain(self) -> bool:
        """Whether what was asked may have been done, now or later."""
        return self.status == 0 or self.status >= 500

    def __str__(self) -> str:
        answer = f"{self.status} {self.code}".strip()
        return f"{self.client}: {self.kind} {self.subject[:12]} at {self.invoked:.2f} to {self.completed:.2f}: {answer}"


@dataclass(frozen=True)
class Fault:
    """Something that was done to the service, and from when on reads have to work in spite of it."""

    name: str
    start: float
    end: float
    reads_from: float


class History:
    """Operations in the order of their answers, also in a file, one JSON document a line. Thread-safe."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = file.open("w", buffering=1) if file is not None else None
        self.operations: list[Operation] = []
        self.faults: list[Fault] = []

    def note(self, operation: Operation) -> None:
        """Add an operation that has ended."""
        with self._lock:
            self.operations.append(operation)
            if self._file is not None:
                self._file.write(json.dumps(asdict(operation)) + "\n")

    @contextmanager
    def fault(self, name: str, *, others_answer: bool) -> Iterator[None]:
        """Note a fault that lasts as long as the context; `others_answer`: reads have to work meanwhile."""
        start = time.monotonic()
        yield
        end = time.monotonic()
        self.faults.append(Fault(name, start, end, start if others_answer else end))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
