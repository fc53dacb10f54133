"""Following a catalog: its identity and version, positions in its history, and what happened after one."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from index.types import Halves, Keys, Space


@dataclass(frozen=True)
class CatalogState:
    """Identity and version of a catalog. `generation` goes up whenever all vectors are replaced."""

    library_id: str
    space: Space
    generation: int
    schema_version: int


@dataclass(frozen=True)
class Position:
    """Up to where someone has followed a collection: the last key, the last entry of the deletion log."""

    generation: int
    key: int
    deletion: int


@dataclass(frozen=True)
class ChangeBatch:
    """One step from a position to a later one: first remove, then add.

    With `reset`, everything known so far is void, and vectors have `dimension` components from here on. `halves` (n, D)
    are the vectors of what was added, as they are stored.
    """

    reset: bool
    dimension: int
    removed: Keys
    added: Keys
    halves: Halves
    position: Position


class ChangeFeed(Protocol):
    """Tells one follower what happened to one collection. Not for several threads at once."""

    @property
    def version(self) -> int | None:
        """A number that has changed if anything was committed between two calls of `poll`, records or not."""

    def poll(self, since: Position | None) -> Generator[ChangeBatch, None, None]:
        """Yield what happened after `since`, whoever did it; nothing, cheaply, if nothing was committed.

        Without `since`, or if the vectors were replaced, the first batch has `reset`. All batches of one call
        describe one moment; only a caller that takes them all is told nothing next time.
        """

    def removed_since(self, deletion: int) -> Keys:
        """Return the keys of all records that were deleted after an entry of the deletion log (`Position.deletion`)."""

    def close(self) -> None:
        """Give up the connection."""


class GenerationChanged(Exception):  # noqa: N818 (a signal inside this package, not an error)
    """All vectors were replaced since the caller looked at the catalog."""
