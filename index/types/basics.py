"""What everything in a library is made of: collections, metadata, vectors, keys and spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:  # listing records needs no arrays
    import numpy as np
    import numpy.typing as npt

Target = Literal["images", "sentences"]
"""Which of the two collections of a library is meant."""


ContentKind = Literal["content", "thumbnail"]
"""Which of the two files of an image is meant: the bytes as they were given, or the small JPEG."""


Metadata = dict[str, Any]
"""A JSON object: what a user says about a record."""


Filters = dict[str, str]
"""Metadata key to the value that it must have, the JSON value written as text: `3`, `true`, `holiday`."""


Vectors: TypeAlias = "npt.NDArray[np.float32]"
"""Unit rows, shape (n, D), or one unit vector, shape (D,)."""


Halves: TypeAlias = "npt.NDArray[np.float16]"
"""Vectors as the catalog stores them, shape (n, D): of unit length but for their rounding."""


Keys: TypeAlias = "npt.NDArray[np.int64]"
"""Catalog keys, shape (n,)."""


@dataclass(frozen=True)
class Space:
    """The joint space that made a library's vectors: hex digest of the bundle, its name, its dimension D."""

    id: str
    name: str
    dimension: int
    sample: Callable[[], Iterable[Vectors]] | None = field(default=None, compare=False, repr=False)
    """Makes vectors of texts such as people search for, in parts (n, D), where the model is at hand: an index that is
    made for texts, and measured with them, needs some. All of them take a second or so."""

    def agrees_with(self, other: Space) -> bool:
        """Tell whether vectors of the two can be compared; the name is only for people."""
        return (self.id, self.dimension) == (other.id, other.dimension)


class Concept(NamedTuple):
    """A word near an image, and its cosine with it."""

    word: str
    score: float


Concepts = tuple[Concept, ...]
"""The words nearest to an image, best first; empty until somebody has looked for them."""


NameConcepts = Callable[[Vectors], Sequence[Sequence[tuple[str, float]]]]
"""Vectors (n, D) to the words nearest to each, best first, with their cosines; at least one each."""
