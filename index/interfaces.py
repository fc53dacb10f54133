"""The three parts of a library, each behind a narrow interface.

`Library` knows only these protocols, so that PostgreSQL, a distributed vector engine or object storage can
take the places of SQLite, FAISS and a directory. Two rules bind every implementation:

- *Keys ascend in commit order.* Whoever has seen key n has seen every record with a smaller key that still
  exists. (SQLite has one writer at a time, so AUTOINCREMENT keeps this; a PostgreSQL sequence alone would
  not.)
- *Deletions are a log.* Whoever remembers a `Position` can ask for everything that happened after it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from index.types import (
    ANY_PHOTO,
    NEWEST_FIRST,
    Added,
    CaptionOrigin,
    CaptionRecord,
    Concepts,
    Content,
    ContentKind,
    FileInPlace,
    FileState,
    Filters,
    Halves,
    ImageRecord,
    IndexStats,
    Keys,
    KnownFile,
    Location,
    Metadata,
    Month,
    NameConcepts,
    Order,
    OwedCaptions,
    PendingDeletion,
    PhotoFacts,
    PhotoFilter,
    R,
    RefusedFile,
    SentenceRecord,
    Signature,
    Source,
    SourceFile,
    SourceState,
    Space,
    Target,
    Vectors,
)


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

    With `reset`, everything known so far is void, and vectors have `dimension` components from here on.
    """

    reset: bool
    dimension: int
    removed: Keys
    added: Keys
    vectors: Vectors
    position: Position


@dataclass(frozen=True)
class Draft:
    """A record to be. `name` is what makes it unique: the SHA-256 of an image, the text of a sentence.

    `metadata` is JSON text of `index.metadata.encode_metadata`; `captions` is how many an image is owed. With a `file`
    that is where its content stays.
    """

    name: str
    columns: Mapping[str, str | int | None]
    vector: Vectors
    metadata: str
    concepts: Concepts = ()
    facts: PhotoFacts | None = None
    captions: int = 0
    file: FileInPlace | None = None


@dataclass(frozen=True)
class CaptionDraft:
    """A caption to be: the sentence, and what the captioner ranked it by."""

    sentence: Draft
    score: float | None


@dataclass(frozen=True)
class Spot:
    """Where a record stands in a list: its key, and in a list by time when it was taken, if that is known.

    `taken` is in microseconds since 1970 on the clock of the place.
    """

    key: int
    taken: int | None = None


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

    def close(self) -> None:
        """Give up the connection."""


class Collection(Protocol[R]):
    """The records of one kind. Every method is thread-safe and sees what was committed before."""

    @property
    def target(self) -> Target:
        """Which collection this is."""

    def add(self, drafts: Sequence[Draft], space: Space, before_insert: Callable[[list[str]], None]) -> list[Added[R]]:
        """Store the drafts in one transaction; a name that exists, or comes again, keeps its first record.

        What exists is somebody's own from then on: the pending deletion of an image is off, and a sentence of the
        captioner loses its origin. `before_insert` gets the names about to be stored while nobody else can write, so
        what it ensures holds. SpaceMismatch if the catalog has another space by now.

        A draft with a file also notes that file. Where that file was the only one of another image, which has no copy,
        that image gets the content of the draft under a new key, and keeps its id, metadata and people's captions. A
        draft without a file says that the library has a copy from now on.
        """

    def find(self, names: Sequence[str]) -> dict[str, R]:
        """Return the records that have these names; the others are left out."""

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return those names that no record has."""

    def get(self, id: str) -> R:
        """Return one record; RecordNotFound."""

    def page(
        self,
        after: Spot | None,
        limit: int,
        filters: Filters,
        words: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> list[tuple[Spot, R]]:
        """Return up to `limit` records that match with their spots in this order, from behind the spot `after` on.

        `words` are concepts that images must have, `photo` what they must be as photographs. Sentences have neither,
        and are ordered by when they were added.
        """

    def count(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> int:
        """Count the records that match."""

    def update(self, id: str, change: Callable[[R], Metadata]) -> R:
        """Give one record the metadata that `change` makes of it, in one transaction; RecordNotFound, InvalidMetadata.

        Nobody else writes meanwhile. What `change` raises comes through, and nothing is changed then.
        """

    def delete(self, ids: Sequence[str]) -> list[R]:
        """Delete all of these in one transaction, or none: RecordNotFound.

        Everything that is known about them goes with them: captions, what is owed, pending deletions. A sentence of
        the captioner goes with the last image that it is a caption of.
        """

    def release(self, names: Sequence[str], remove: Callable[[list[str]], None]) -> None:
        """Call `remove` with those names that no record has, while nobody else can write."""

    def keys(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> Keys:
        """Return the keys of all records that match, ascending."""

    def hidden(self) -> Keys:
        """Return the keys of images whose files are missing, ascending.

        Nobody finds them: `page`, `count` and `keys` leave them out, and a search has to. Their feed has them.
        """

    def keys_of(self, ids: Sequence[str]) -> Keys:
        """Return the keys of the records with these ids; unknown ids are left out."""

    def records(self, keys: Keys) -> dict[int, R]:
        """Return the records with these keys; keys of deleted records are left out."""

    def vectors(self, ids: Sequence[str], space: Space) -> Vectors:
        """Return the vectors of these records, (n, D), in this order; RecordNotFound, SpaceMismatch."""

    def head(self) -> Position:
        """Return the position of the last change."""

    def stored(self, keys: Keys, generation: int) -> tuple[Keys, Halves]:
        """Return those of these keys that are there, ascending, and their vectors as they are stored, (n, D).

        GenerationChanged unless the vectors are those of this generation of the catalog.
        """

    def stored_after(self, key: int, limit: int, generation: int) -> tuple[Keys, Halves]:
        """Return the next keys after `key`, ascending, at most `limit`, and their vectors; as `stored`."""

    def anchor(self, position: Position) -> str | None:
        """Return what stands for the history up to a position, which another history has not; None if this is one.

        It is made of the random ids that its key and its deletion stand or stood for.
        """

    def feed(self) -> ChangeFeed:
        """Start to follow this collection."""

    def unstaged(self, after: int, limit: int) -> list[tuple[int, R]]:
        """Return up to `limit` pairs (key, record) with keys above `after` that have no staged vector yet."""

    def stage(self, space: Space, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors of `space` for these keys until the swap; ReindexConflict for another space."""


class CaptionStore(Protocol):
    """Which sentences are captions of which images. Thread-safe, each method one transaction."""

    def of(self, image_id: str) -> list[CaptionRecord]:
        """Return the captions of an image, people's own first, each kind in its order; RecordNotFound."""

    def add(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Add captions of the captioner and return all captions; the image is no longer owed any.

        A sentence that is there already is not changed. RecordNotFound, SpaceMismatch.
        """

    def set(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Make these, in their order, people's own captions of an image, and return all its captions.

        Those that are no longer among them stay as sentences. One that the captioner wrote, too, is people's own
        from then on, and so is its sentence. RecordNotFound, SpaceMismatch.
        """

    def delete(self, image_id: str, origin: CaptionOrigin | None) -> None:
        """Delete the captions of an image, or those of one origin; RecordNotFound.

        A sentence of the captioner goes with the last image that it is a caption of; people's own stay.
        """

    def owed(self) -> int:
        """Return how many images are owed captions that are not given up."""

    def given_up(self) -> int:
        """Return how many images have had MAX_CAPTION_ATTEMPTS attempts, and are owed captions still."""

    def claim(self, limit: int, seconds: float) -> list[OwedCaptions]:
        """Return up to `limit` images that are owed captions, oldest first, for the caller to attempt.

        No one else is given them for so many `seconds`. Those given up are not among them.
        """

    def release(self, image_ids: Sequence[str], seconds: float, *, counted: bool) -> None:
        """End an attempt without captions: no one is given these images for so many `seconds`.

        `counted`: whether it counts as an attempt. Unknown ids, and images that are owed none, are ignored.
        """

    def retry(self) -> int:
        """Forget all failed attempts, so that everything owed is attempted again now; return how many images."""


class SourceStore(Protocol):
    """Folders whose pictures stay where they are, and the files in them. Thread-safe, each method one transaction.

    Besides what each names, methods that take the id of a source raise SourceNotFound.
    """

    def register(self, root: str) -> Source:
        """Return the source with this path, a new one where there is none."""

    def all(self) -> list[Source]:
        """Return all sources, in the order in which they came."""

    def get(self, id: str) -> Source:
        """Return one source."""

    def pause(self, id: str, paused: bool) -> Source:
        """Have nobody work on a source, or let them again."""

    def note(self, id: str, state: SourceState, reason: str | None, mounts: Sequence[str] | None) -> None:
        """Write down how a pass ended, where `ready` is complete, and with `mounts` on which folders one is mounted."""

    def known(self, id: str) -> dict[str, KnownFile]:
        """Return what is remembered of all files of a source, by path."""

    def counts(self, id: str) -> dict[FileState, int]:
        """Return how many files of a source there are in each state."""

    def files(self, id: str, state: FileState, after: str | None, limit: int) -> list[SourceFile]:
        """Return up to `limit` files in a state whose paths come after `after`, in the order of their bytes."""

    def of(self, image_ids: Sequence[str]) -> dict[str, list[SourceFile]]:
        """Return the files of images by id; those without any are left out."""

    def locate(self, sha256: str) -> list[Location]:
        """Return where files with this content were last seen."""

    def attach(self, found: Sequence[tuple[FileInPlace, str]]) -> list[ImageRecord | Literal["unknown", "deleted"]]:
        """Note files by the SHA-256 of their content, where there are images of it: those are found again.

        `unknown`, and nothing is noted, where there is no such image. A file whose image somebody deleted while it was
        in the same source under another path is noted as `deleted`.
        """

    def seen(self, id: str, files: Sequence[tuple[str, Signature]]) -> None:
        """Note that missing files are back."""

    def refuse(self, id: str, files: Sequence[RefusedFile]) -> None:
        """Note files that make no images."""

    def settle(self, id: str, gone: Sequence[str]) -> int:
        """Note that these files are gone; return how many images are missing since.

        An image is missing when it has no copy, and none of its files is present. Files of other images, and those
        that made none, are forgotten.
        """

    def prune(self, id: str | None, before: datetime, spare: Sequence[str] = ()) -> list[ImageRecord]:
        """Delete the images that have been missing since before then, of one source or of all; return them.

        An image stays while one of its files is there, though it can no longer be used, and while one was below the
        folders `spare`.
        """

    def forget(self, id: str) -> list[ImageRecord]:
        """Delete a source, and the images that were in no other and have no copy; return those."""


class PhotoStore(Protocol):
    """What files say about the images of a catalog. Thread-safe, each method one transaction."""

    def unread(self, after: int, limit: int) -> list[tuple[int, ImageRecord]]:
        """Return up to `limit` pairs (key, record) with keys above `after` whose files nobody has asked yet."""

    def count_unread(self) -> int:
        """Return how many there are."""

    def set(self, facts: Mapping[str, PhotoFacts]) -> None:
        """Keep what contents say, by their SHA-256: an image may have another one by now, or be gone."""

    def months(self, filters: Filters, words: Sequence[str], photo: PhotoFilter) -> list[Month]:
        """Return in which months the images that match were taken, the latest first."""


class PendingDeletions(Protocol):
    """Images whose deletion can be undone, for every process alike. Thread-safe, each method one transaction."""

    def schedule(self, image_id: str, due: datetime) -> None:
        """Let an image be deleted from `due` on; one that is pending becomes due then instead. RecordNotFound."""

    def cancel(self, image_ids: Sequence[str]) -> list[str]:
        """Keep these images after all; return the ids of those that were pending."""

    def all(self) -> list[PendingDeletion]:
        """Return what is pending, the first due first."""

    def carry_out(self, image_id: str) -> ImageRecord | None:
        """Delete an image if its deletion is still pending, as `Collection.delete`; None if it is not."""


class Catalog(Protocol):
    """The one source of truth: every record and every vector, and all state that processes share."""

    @property
    def images(self) -> Collection[ImageRecord]:
        """The images."""

    @property
    def sentences(self) -> Collection[SentenceRecord]:
        """The sentences."""

    @property
    def captions(self) -> CaptionStore:
        """The captions."""

    @property
    def sources(self) -> SourceStore:
        """The folders whose pictures stay where they are."""

    @property
    def photos(self) -> PhotoStore:
        """What files say about the images."""

    @property
    def pending(self) -> PendingDeletions:
        """The deletions that can be undone."""

    def state(self) -> CatalogState:
        """Return the identity and version of this catalog, as of now."""

    def begin_staging(self, space: Space) -> int:
        """Start, or go on, to stage vectors of `space`; return how many records have theirs already."""

    def swap_staged(self, space: Space) -> bool:
        """Replace all vectors by the staged ones in one transaction; False if some record has none yet."""

    def describe(self, space: Space, name: NameConcepts) -> int:
        """Give concepts to the images that have none; return how many there were. SpaceMismatch."""

    def problems(self) -> list[str]:
        """Return what is wrong with the records themselves."""

    def size(self) -> int:
        """Return how many bytes the catalog takes up."""

    def content_size(self) -> int:
        """Return how many bytes the content takes up of all images that there is a copy of."""

    def close(self) -> None:
        """Finish the writes under way and give up every connection. Idempotent."""


class GenerationChanged(Exception):  # noqa: N818 (a signal inside this package, not an error)
    """All vectors were replaced since the caller looked at the catalog."""


@dataclass(frozen=True)
class Where:
    """Which records a search may find: metadata, concepts and facts that they must have, and ids to leave out.

    These are plain values. An engine scans, probes, pushes them down, or asks the catalog which keys match.
    """

    filters: Filters = field(default_factory=dict)
    concepts: tuple[str, ...] = ()
    photo: PhotoFilter = ANY_PHOTO
    exclude: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is demanded; there may be ids to leave out."""
        return not (self.filters or self.concepts) and self.photo.is_empty


@dataclass(frozen=True)
class Nearest:
    """The answer of a search: scores and keys, both (r,), descending, ties by key.

    `total` is how many records the search ranged over: those that match and are not left out.
    """

    scores: Vectors
    keys: Keys
    total: int


class VectorIndex(Protocol):
    """Nearest neighbours by cosine in one collection of the catalog, which the index follows. Thread-safe.

    It is derived: whatever happens to it, it comes back from the catalog. How it searches, what it keeps on a disk or
    on another machine, and how many of the true nearest it finds are its own business; `stats` tells. Besides what each
    names, all methods may raise the errors of the catalog.
    """

    def refresh(self) -> None:
        """Take over everything that was committed before this call, by whatever process."""

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """Return the k nearest to a unit vector (D,), as of the last `refresh` or later.

        Scores are those of `index.scoring.cosines`: a pair of vectors always has the same, bit for bit. Where few
        records have what is demanded, the search is exact. Ids in `exclude` that do not exist do no harm.
        GenerationChanged unless the vectors are those of this `generation` of the catalog.
        """

    def stats(self) -> IndexStats:
        """Return what kind of index it is, how many vectors it has, and its recall, as of now."""

    def added(self, count: int) -> None:
        """Hear that this process has added so many records; for an index that saves itself now and then."""

    def problems(self) -> list[str]:
        """Return how the index differs from the catalog: sentences, or nothing."""

    def close(self) -> None:
        """Stop following and give up every connection. Idempotent."""


@dataclass(frozen=True)
class ContentStat:
    """What a content store knows of a file: its bytes, and when it was written, in seconds since the epoch."""

    size: int
    modified: float


class ContentStore(Protocol):
    """Two files, content and thumbnail, for each SHA-256 of a content. Thread-safe, and safe between processes.

    Files that were put are never changed. An empty one counts as missing: no image is empty. Methods raise ValueError
    for what is no SHA-256 in lower-case hexadecimal, and StorageFailed.
    """

    def open(self, sha256: str, kind: ContentKind) -> Content:
        """Open a file; FileNotFoundError. Deleting it afterwards takes nothing from whoever has it open."""

    def stat(self, sha256: str, kind: ContentKind) -> ContentStat | None:
        """Return what is known of a file without reading it; None if it is missing."""

    def location(self, sha256: str, kind: ContentKind) -> str:
        """Return where a file is, or would be, in words for people: a path or a URL without secrets."""

    def put_many(self, items: Mapping[str, tuple[bytes | None, bytes]]) -> None:
        """Store content and thumbnail for each digest; durable on return. Repairs files of another size.

        Without a content it is kept elsewhere, and only the thumbnail is stored.
        """

    def has_copy(self, sha256: str) -> bool:
        """Tell whether the store has the content itself, rather than where it is kept elsewhere."""

    def delete(self, sha256: str) -> None:
        """Remove content and thumbnail, if they are there."""

    def set_aside(self, sha256: str, kind: ContentKind) -> None:
        """Move a damaged file to where it does no harm, and nobody deletes it; `put_many` writes it anew then."""

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests last written before `timestamp` (since the epoch); some may come twice.

        Whatever `put_many` was given counts as written by that call, even if it was there already.
        """

    def sweep_unfinished(self, timestamp: float) -> int:
        """Remove what writers that died before `timestamp` left unfinished; return how many files that was."""

    def is_empty(self) -> bool:
        """Tell whether there is neither a content nor a thumbnail."""
