"""What is given to a library, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from index.types.basics import Metadata
from index.types.photos import PhotoFacts
from index.types.records import R
from index.types.sources import FileInPlace

if TYPE_CHECKING:  # listing records needs no arrays
    import numpy.typing as npt


@dataclass(frozen=True)
class NewImage:
    """An image to add: its bytes, its vector (D,), its thumbnail (JPEG), and what decoding it told.

    `thumbnail` is None if none is kept of such an image (`keeps_thumbnail`). `facts` is what the file says of itself;
    None: nobody has looked yet (`LibraryBackfill.fill_facts`). `captions` is how many captions of the captioner it is
    owed. `sha256` of the bytes, in lower-case hexadecimal, where the caller knows it already. With a `file` the content
    stays there, and the library keeps no copy.
    """

    content: bytes
    vector: npt.NDArray[Any]
    thumbnail: bytes | None
    media_type: str
    width: int
    height: int
    filename: str | None = None
    metadata: Metadata = field(default_factory=dict)
    concepts: Sequence[tuple[str, float]] = ()
    facts: PhotoFacts | None = None
    captions: int = 0
    sha256: str | None = None
    file: FileInPlace | None = None


@dataclass(frozen=True)
class NewSentence:
    """A sentence to add, with its vector (D,)."""

    text: str
    vector: npt.NDArray[Any]
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class NewCaption:
    """A caption to add to an image, with its vector (D,), and what the captioner ranked it by."""

    text: str
    vector: npt.NDArray[Any]
    score: float | None = None


@dataclass(frozen=True)
class Added(Generic[R]):
    """The answer to adding one thing. `created` is False where the same content was there already.

    `changed`: an image got this content instead of another, `replaced` (its SHA-256), since its file was changed.
    """

    record: R
    created: bool
    replaced: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the image had another content before."""
        return self.replaced is not None
