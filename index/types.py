"""The records of a library and what its methods take and return.

A *key* is the catalog's integer for a record: never reused, ascending with time, internal to this package. An
*id* is the random, URL-safe name that the outside world uses. A *space* is what gives vectors their meaning:
vectors of two spaces must never be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

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

CaptionOrigin = Literal["captioner", "user"]
"""Who says that a sentence is a caption of an image: the captioner of a bundle, or people."""

Vectors: TypeAlias = "npt.NDArray[np.float32]"
"""Unit rows, shape (n, D), or one unit vector, shape (D,)."""

Halves: TypeAlias = "npt.NDArray[np.float16]"
"""Vectors as the catalog stores them, shape (n, D): of unit length but for their rounding."""

Keys: TypeAlias = "npt.NDArray[np.int64]"
"""Catalog keys, shape (n,)."""

T = TypeVar("T")
R = TypeVar("R", bound="ImageRecord | SentenceRecord")


@dataclass(frozen=True)
class Space:
    """The joint space that made a library's vectors: hex digest of the bundle, its name, its dimension D."""

    id: str
    name: str
    dimension: int
    sample: Callable[[], Vectors] | None = field(default=None, compare=False, repr=False)
    """Makes vectors (n, D) of texts such as people search for, where the model is at hand: an index that is made for
    texts, and measured with them, needs some. It takes a second or so."""

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


class Place(NamedTuple):
    """Where a photograph was taken: degrees, north and east positive."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class PhotoFacts:
    """What the file of a photograph says about it; None and empty for what it does not say.

    `taken` is the time on the clock of the place, to the microsecond, with its offset from UTC where that is known.
    `camera` is maker and model, `orientation` the number of EXIF (1 to 8): how the stored pixels are turned to stand
    upright.
    """

    taken: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    place: Place | None = None
    orientation: int | None = None
    title: str | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Near:
    """Places within so many kilometres of one, on a sphere."""

    latitude: float
    longitude: float
    kilometres: float


@dataclass(frozen=True)
class PhotoFilter:
    """What an image must be as a photograph: all that is given. Nothing is known of sentences.

    `taken_after` is the first moment that counts and `taken_before` the first that does not. Without an offset they are
    compared with the clock of the place; with one they are moments, and photographs without an offset are taken to have
    the same. `camera` is a part of its name, in capitals or not.
    """

    taken_after: datetime | None = None
    taken_before: datetime | None = None
    camera: str | None = None
    near: Near | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every image will do."""
        return self == ANY_PHOTO


ANY_PHOTO = PhotoFilter()
"""Demands nothing."""


@dataclass(frozen=True)
class Order:
    """In what order images are listed: by when they were `added` or `taken`, the latest first unless `ascending`.

    Those of which it is not known when they were taken come last in either direction, ordered by when they were added.
    """

    by: Literal["added", "taken"] = "added"
    ascending: bool = False


NEWEST_FIRST = Order()
"""The order that lists have unless another one is asked for."""


@dataclass(frozen=True)
class Month:
    """A month, and how many photographs were taken in it."""

    year: int
    month: int
    count: int


@dataclass(frozen=True)
class ImageRecord:
    """A stored image. `sha256` names its content, `created_at` is UTC, `size` is in bytes."""

    id: str
    sha256: str
    filename: str | None
    media_type: str
    width: int
    height: int
    size: int
    created_at: datetime
    metadata: Metadata
    concepts: Concepts = ()
    facts: PhotoFacts = PhotoFacts()


@dataclass(frozen=True)
class SentenceRecord:
    """A stored sentence; `created_at` is UTC."""

    id: str
    text: str
    created_at: datetime
    metadata: Metadata


@dataclass(frozen=True)
class CaptionRecord:
    """A sentence that is a caption of an image. `score`: what its captioner ranked it by, None if people wrote it."""

    sentence: SentenceRecord
    origin: CaptionOrigin
    score: float | None


MAX_CAPTION_ATTEMPTS = 5
"""How often the captions of an image are attempted before they are given up."""


@dataclass(frozen=True)
class OwedCaptions:
    """An image that is to get captions of the captioner, how many, and which attempt this is, from 1."""

    image_id: str
    count: int
    attempt: int


@dataclass(frozen=True)
class PendingDeletion:
    """An image whose deletion can be undone; it is due at `due`, in UTC."""

    image_id: str
    filename: str | None
    due: datetime


FileState = Literal["present", "missing", "refused", "skipped", "deleted"]
"""What became of a file in a source: an image is made of it; it was, and is not there any more; it could not be made
into one; it is no picture; somebody deleted its image, and it is not added again."""

SourceState = Literal["new", "ready", "away"]
"""Whether a source was never gone through, was, or was not there the last time somebody looked."""


class Signature(NamedTuple):
    """What tells, without reading it, that a file is still the same: bytes, nanoseconds since the epoch, inode."""

    size: int
    mtime_ns: int
    inode: int


class KnownFile(NamedTuple):
    """What is remembered of a file: what it looked like, what became of it, and the code if it was refused."""

    signature: Signature
    state: FileState
    code: str | None


@dataclass(frozen=True)
class Source:
    """A folder whose pictures stay where they are. `root` is its path, `mounts` are folders in it on other devices.

    `reason` says why it is away; `finished_at` is when the last complete pass over it ended, in UTC.
    """

    id: str
    root: str
    paused: bool
    state: SourceState
    reason: str | None
    finished_at: datetime | None
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileInPlace:
    """A file in a source, by its path below the root, as it looked while its bytes were read."""

    source_id: str
    path: str
    signature: Signature


@dataclass(frozen=True)
class RefusedFile:
    """A file in a source that makes no image; `code` and `reason` say why. `skipped`: it is no picture at all."""

    path: str
    signature: Signature
    code: str | None
    reason: str | None
    skipped: bool = False


@dataclass(frozen=True)
class SourceFile:
    """A file in a source, and what became of it. `missing_since` is when the last file of its image went, in UTC."""

    source_id: str
    path: str
    signature: Signature
    state: FileState
    image_id: str | None
    code: str | None
    reason: str | None
    missing_since: datetime | None


@dataclass(frozen=True)
class Location:
    """Where content is that the library has no copy of: a path below a root, and what the file has to look like."""

    root: str
    path: str
    signature: Signature


@dataclass(frozen=True)
class NewImage:
    """An image to add: its bytes, its vector (D,), its thumbnail (JPEG), and what decoding it told.

    `facts` is what the file says about itself; None: nobody has looked yet (`Library.fill_facts`). `captions` is how
    many captions of the captioner it is owed. `sha256` of the bytes, in lower-case hexadecimal, where the caller knows
    it already. With a `file` the content stays there, and the library keeps no copy.
    """

    content: bytes
    vector: npt.NDArray[Any]
    thumbnail: bytes
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

    `changed`: an image got this content instead of another, since its file was changed.
    """

    record: R
    created: bool
    changed: bool = False


class Content(Protocol):
    """A file that is open: it can be read to its end, even if it is deleted meanwhile. Thread-safe."""

    @property
    def size(self) -> int:
        """How many bytes it has; never 0."""

    @property
    def modified(self) -> float:
        """When it was written, in seconds since the epoch."""

    @property
    def path(self) -> Path | None:
        """Where the file is, if it is a file of this machine: to show, or for tools that want a path."""

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to the end of the file. StorageFailed."""

    def close(self) -> None:
        """Give up what it takes to read. Idempotent."""


@dataclass(frozen=True)
class ImageFile:
    """One of the two files of an image, open until `close`; a context manager.

    `lasting`: the image never has another content. One in place has, when its file is changed.
    """

    record: ImageRecord
    media_type: str
    content: Content
    lasting: bool = True

    def close(self) -> None:
        """Close the file. Idempotent."""
        self.content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Hit:
    """One result of a search; `score` is a cosine, from -1 to 1."""

    record: ImageRecord | SentenceRecord
    score: float


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list. `next_cursor` is None on the last page.

    `total` counts what the list ranges over, on all pages: the records that match the filters; in a search
    without those excluded, and before `min_score`.
    """

    items: list[T]
    next_cursor: str | None
    total: int


@dataclass(frozen=True)
class IndexStats:
    """One vector index: how it searches (`exact`, `ivf`, …), its size, and its recall@10 (1.0 if exact).

    The recall is measured with vectors of texts against the exact answer; None until there were some.
    """

    kind: str
    size: int
    recall: float | None


@dataclass(frozen=True)
class LibraryStats:
    """What a library holds. Sizes are in bytes; `generation` counts how often it was re-embedded.

    `captions_owed` and `captions_given_up` are numbers of images.
    """

    library_id: str
    space: Space
    generation: int
    schema_version: int
    images: int
    sentences: int
    content_bytes: int
    catalog_bytes: int
    captions_owed: int
    captions_given_up: int
    image_index: IndexStats
    sentence_index: IndexStats
