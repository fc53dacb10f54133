"""The manifest of a vector index: which files are the index, and how far they have followed the catalog."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from index.interfaces import CatalogState, Collection, Position
from index.types import Target


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


QueryKind = Literal["texts", "sentences"]
"""What is measured with: texts of people's kind, or stored sentences."""


class SegmentEntry(_Model):
    """A segment: its file, how many vectors it has, and how many bytes the code and the row of each take."""

    file: str
    sha256: str
    count: int
    code_size: int
    row_size: int = 0


class Probing(_Model):
    """How the segments are searched, and how much of the truth that finds.

    `lists` are probed; of the best `candidates` by their codes, the best `scored` by their rows are scored exactly
    (None in the files of a version of Visem that had no rows: all of them). `recall` is recall@10 of `queries` among
    the `measured_on` vectors that there were; None if there was no text to measure with.
    """

    lists: int
    candidates: int
    scored: int | None = None
    measured_on: int
    recall: float | None = None
    queries: QueryKind | None = None


class Manifest(_Model):
    """What a vector index is made of, and what of: every record with a key up to `key` that was not deleted by then.

    `anchor` stands for the history up to the position (`Collection.anchor`).
    """

    format: Literal[1] = 1
    library_id: str
    target: Target
    generation: int
    dimension: int
    key: int
    deletion: int
    anchor: str
    codec: str
    codec_sha256: str
    trained_on: int
    probing: Probing
    segments: tuple[SegmentEntry, ...]

    @property
    def position(self) -> Position:
        """Up to where the segments have followed the catalog."""
        return Position(self.generation, self.key, self.deletion)

    @property
    def count(self) -> int:
        """How many vectors the segments have, deleted ones included."""
        return sum(segment.count for segment in self.segments)

    def is_of(self, state: CatalogState, collection: Collection[Any]) -> bool:
        """Tell whether it is of this catalog as it is now, and not of a copy that went its own way."""
        return (
            self.library_id == state.library_id
            and self.target == collection.target
            and self.generation == state.generation
            and self.dimension == state.space.dimension
            and self.anchor == collection.anchor(self.position)
        )
