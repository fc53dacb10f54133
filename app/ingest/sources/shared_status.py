"""Where the worker that follows the sources tells the others how it is getting on, and hears what they were asked.

Both are files in a folder that only the workers of one service have: what counts is in the catalog.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from app.ingest.sources.progress import PassProgress
from app.shared.files import made

Wish = Literal["rescan", "resume"]

_STATE = "state.json"
_REGISTERED = "registered"


@dataclass(frozen=True)
class FollowerState:
    """What a follower is at, by the ids of the sources."""

    at_work: str | None = None
    watch_problem: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    progress: dict[str, PassProgress] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The state as JSON; without `kept`, which only whoever runs a pass wants to know."""
        progress = {id: {**vars(one), "kept": {}} for id, one in self.progress.items()}
        return json.dumps({**vars(self), "progress": progress}).encode()

    @classmethod
    def decode(cls, data: bytes) -> FollowerState:
        """Read what `encode` wrote; ValueError, TypeError, KeyError."""
        fields: dict[str, Any] = json.loads(data)
        progress = {id: PassProgress(**one) for id, one in fields.pop("progress").items()}
        return cls(progress=progress, **fields)


class SourceBoard:
    """The files; `leads` tells whether it is this worker that follows the sources. Thread-safe."""

    def __init__(self, folder: Path, leads: Callable[[], bool]) -> None:
        self._folder = folder
        self.leads = leads
        self._posted = b""

    def post(self, state: FollowerState) -> None:
        """Tell the others. For the leader."""
        data = state.encode()
        if data != self._posted or not (self._folder / _STATE).exists():
            made(self._folder)
            unfinished = self._folder / f".{secrets.token_hex(8)}"
            unfinished.write_bytes(data)
            unfinished.replace(self._folder / _STATE)
            self._posted = data

    def read(self) -> FollowerState:
        """What the leader told last."""
        try:
            return FollowerState.decode((self._folder / _STATE).read_bytes())
        except FileNotFoundError:
            return FollowerState()

    def ask(self, wish: Wish, source_id: str) -> None:
        """Ask the leader for something, or the next one if it ends before it hears of it."""
        (made(self._folder) / f"{wish}-{source_id}").touch()

    def asked(self) -> list[tuple[Wish, str]]:
        """What was asked for, which is asked no longer. For the leader."""
        found: list[tuple[Wish, str]] = []
        for wish in get_args(Wish):
            for path in self._folder.glob(f"{wish}-*"):
                path.unlink(missing_ok=True)
                found.append((wish, path.name.removeprefix(f"{wish}-")))
        return found

    @property
    def registered(self) -> bool:
        """Whether the sources of the settings have been registered: once, as somebody may forget one of them later."""
        return (self._folder / _REGISTERED).exists()

    def note_registered(self) -> None:
        """Remember that they have."""
        (made(self._folder) / _REGISTERED).touch()
