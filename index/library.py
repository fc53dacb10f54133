"""A library: catalog, vector indexes and content files as one thing that cannot disagree with itself.

The catalog is the one source of truth. Order is what keeps the three together. Files are durable before the record that
names them is written, and go after it is deleted; whoever writes a record makes sure, while nobody else can write, that
its files are (still) there; whoever removes a file makes sure in the same way that no record names it. The vector
indexes follow the catalog's log. What the parts are made of is the business of `index.opening`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from index import maintenance, repairing, thumbnails
from index.backfill import LibraryBackfill
from index.captions import LibraryCaptions
from index.concepts import checked_words
from index.cursors import ListCursor, fingerprint
from index.deletions import LibraryDeletions
from index.drafts import image_drafts, sentence_drafts
from index.errors import ContentMissing, LibraryError, Part, SourceAway, SpaceMismatch
from index.interfaces import (
    Catalog,
    CatalogState,
    Collection,
    ContentStore,
    GenerationChanged,
    Spot,
    VectorIndex,
    Where,
)
from index.locks import Gate
from index.metadata import checked_filters
from index.pacing import Pace, Progress
from index.reindexing import EmbedImages, EmbedSentences, Reindexing
from index.repairing import RenderThumbnail
from index.sampling import sample
from index.searching import Query, search_page
from index.sources import LibrarySources, is_away
from index.storing import FilesToStore
from index.transfer import LibraryTransfer
from index.types import (
    ANY_PHOTO,
    NEWEST_FIRST,
    Added,
    ContentKind,
    EngineState,
    Hit,
    ImageFile,
    ImageRecord,
    IndexStats,
    LibraryStats,
    Metadata,
    Month,
    NewImage,
    NewSentence,
    Order,
    Page,
    PhotoFilter,
    R,
    SentenceRecord,
    Space,
    Target,
    Vectors,
)
from index.vector_encoding import unit_vector

if TYPE_CHECKING:
    import numpy.typing as npt


class Library:
    """A library that is open. Thread-safe, and several processes may have the same library open.

    Every method sees what was committed, by whatever process, before it was called; after `close` all raise
    LibraryClosed. Besides what each names, all may raise LibraryBusy, StorageFailed, EngineAway, CatalogCorrupted
    and LibraryReplaced.
    """

    def __init__(
        self,
        catalog: Catalog,
        content: ContentStore,
        indexes: Mapping[Target, VectorIndex],
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """Put a library together from its parts, which it closes; `open_library` is the usual way to get one.

        `verify` raises LibraryReplaced when the parts are not where they were: before whatever is done, and after it,
        so that nothing is acknowledged which is nowhere.
        """
        self._catalog = catalog
        self._content = content
        self._indexes = indexes
        self._state = catalog.state()
        self._gate = Gate(verify)
        self.sources = LibrarySources(catalog, content, self._gate)
        self.captions = LibraryCaptions(catalog, self._gate, lambda: self._state.space)
        self.deletions = LibraryDeletions(catalog, content, self._gate)
        self.backfill = LibraryBackfill(catalog, content, self._gate, lambda: self._state.space)
        self.transfer = LibraryTransfer(catalog, content, indexes, self._gate, lambda: self._state.space)

    @classmethod
    def open(cls, folder: Path, space: Space | None = None) -> Library:
        """Open the library in a folder, with the engines that need nothing else; as `index.open_library`."""
        from index.opening import LibraryConfig, open_library  # it makes libraries, so it knows this module

        return open_library(LibraryConfig(folder), space)

    @property
    def space(self) -> Space:
        """The space that the vectors of the library are of."""
        return self._state.space

    def close(self) -> None:
        """Wait for the calls under way, write snapshots, close every file. Idempotent."""
        if not self._gate.close():
            return
        with ExitStack() as stack:  # whatever goes wrong with one, the others are closed
            stack.callback(self._catalog.close)
            for index in self._indexes.values():
                stack.callback(index.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_images(self, images: Sequence[NewImage]) -> list[Added[ImageRecord]]:
        """Add all images in one transaction, or none; the answers are in their order.

        An image whose content is there already, or came earlier in the list, is not changed: `created` is
        False. InvalidVector, InvalidMetadata, SpaceMismatch.
        """
        with self._gate.enter():
            space = self._state.space
            drafts = image_drafts(images, space.dimension)
            files: dict[str, tuple[bytes | None, bytes | None]] = {}
            for draft, image in zip(drafts, images, strict=True):  # one that is to be copied counts, or else the first
                if draft.name not in files or image.file is None:
                    files[draft.name] = (None if image.file else image.content, image.thumbnail)

            storing = FilesToStore(self._catalog, self._content, files)
            storing.store()
            added = self._catalog.images.add(drafts, space, before_insert=storing.ensure)
            self._indexes["images"].added(len(added))
            if replaced := [one.replaced for one in added if one.replaced is not None]:
                maintenance.try_remove(self._catalog, self._content, replaced)
            return added

    def add_sentences(self, sentences: Sequence[NewSentence]) -> list[Added[SentenceRecord]]:
        """Add all sentences in one transaction, or none; the answers are in their order.

        Surrounding white space is removed. A text that is there already is not changed: `created` is False.
        InvalidText, InvalidVector, InvalidMetadata, SpaceMismatch.
        """
        with self._gate.enter():
            space = self._state.space
            drafts = sentence_drafts(sentences, space.dimension)
            added = self._catalog.sentences.add(drafts, space, before_insert=lambda names: None)
            self._indexes["sentences"].added(len(added))
            return added

    def ping(self) -> None:
        """Raise what is wrong if the store of the files does not answer: StorageFailed, EngineAway."""
        with self._gate.enter(), suppress(FileNotFoundError):  # of S3, only reading tells that the bucket is gone
            self._content.open(hashlib.sha256().hexdigest(), "thumbnail").close()

    def find_images(self, sha256s: Sequence[str]) -> dict[str, ImageRecord]:
        """Return the images with these contents by SHA-256; those not there are left out."""
        with self._gate.enter():
            return self._catalog.images.find(sha256s)

    def has_files(self, record: ImageRecord) -> bool:
        """Tell whether copy and thumbnail of an image, if one is kept, are there; adding the image again brings lost
        ones back."""
        with self._gate.enter():
            return self._is_stored(record, record.size)

    def has_thumbnail(self, record: ImageRecord) -> bool:
        """Tell whether the thumbnail of an image, if one is kept, is there: all that an image in place has here."""
        with self._gate.enter():
            return self._is_stored(record, None)

    def _is_stored(self, record: ImageRecord, size: int | None) -> bool:
        needed = thumbnails.keeps_thumbnail(record.width, record.height, record.size)
        return maintenance.is_stored(self._content, record.sha256, size, thumbnail=needed)

    def get_image(self, id: str) -> ImageRecord:
        """Return one image; RecordNotFound."""
        with self._gate.enter():
            return self._catalog.images.get(id)

    def get_sentence(self, id: str) -> SentenceRecord:
        """Return one sentence; RecordNotFound."""
        with self._gate.enter():
            return self._catalog.sentences.get(id)

    def list_images(
        self,
        cursor: str | None = None,
        limit: int = 50,
        filters: Mapping[str, str] | None = None,
        concepts: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> Page[ImageRecord]:
        """Return a page of the images that match, newest first or as `order` says; InvalidCursor, InvalidFilter.

        `filters` demand metadata, `concepts` words that are among those nearest to the image, and `photo` what its file
        has to say.
        """
        with self._gate.enter():
            return self._list(self._catalog.images, cursor, limit, filters, concepts, photo, order)

    def months(
        self,
        filters: Mapping[str, str] | None = None,
        concepts: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
    ) -> list[Month]:
        """Return in which months the images that match were taken, the latest first; InvalidFilter."""
        with self._gate.enter():
            return self._catalog.photos.months(checked_filters(filters), checked_words(concepts), photo)

    def list_sentences(
        self, cursor: str | None = None, limit: int = 50, filters: Mapping[str, str] | None = None
    ) -> Page[SentenceRecord]:
        """Return a page of the sentences whose metadata match, newest first; InvalidCursor, InvalidFilter."""
        with self._gate.enter():
            return self._list(self._catalog.sentences, cursor, limit, filters)

    def sample_images(self, limit: int) -> dict[str, str | None]:
        """Return file names by id of up to `limit` images, newest first and spread evenly over all.

        They are the same for the same library.
        """
        _require_positive("limit", limit)
        with self._gate.enter():
            return dict(sample(self._catalog.images, limit, "id", "filename"))

    def update_image(self, id: str, change: Callable[[ImageRecord], Metadata]) -> ImageRecord:
        """Give an image the metadata that `change` makes of its record; RecordNotFound, InvalidMetadata.

        It is one transaction: nobody else changes the record between, and what `change` raises leaves it as it was.
        """
        with self._gate.enter():
            return self._catalog.images.update(id, change)

    def delete_image(self, id: str) -> None:
        """Delete an image with its files; RecordNotFound. No search that starts afterwards finds it."""
        self.delete_images([id])

    def delete_images(self, ids: Sequence[str]) -> None:
        """Delete all these images with their files, or none: RecordNotFound.

        Sentences that the captioner wrote go with the last image that they are captions of; people's own stay.
        """
        with self._gate.enter():
            records = self._catalog.images.delete(ids)
            maintenance.try_remove(self._catalog, self._content, [record.sha256 for record in records])

    def delete_sentence(self, id: str) -> None:
        """Delete a sentence; RecordNotFound. No search that starts afterwards finds it."""
        self.delete_sentences([id])

    def delete_sentences(self, ids: Sequence[str]) -> None:
        """Delete all these sentences, or none: RecordNotFound."""
        with self._gate.enter():
            self._catalog.sentences.delete(ids)

    def image_vectors(self, ids: Sequence[str]) -> Vectors:
        """Return float32 unit rows (n, D) of these images, in this order; RecordNotFound, SpaceMismatch."""
        with self._gate.enter():
            return self._catalog.images.vectors(ids, self._state.space)

    def sentence_vectors(self, ids: Sequence[str]) -> Vectors:
        """Return float32 unit rows (n, D) of these sentences, in this order; as `image_vectors`."""
        with self._gate.enter():
            return self._catalog.sentences.vectors(ids, self._state.space)

    def open_file(self, id: str, kind: ContentKind) -> ImageFile:
        """Open the content of an image, as it was added, or its thumbnail; RecordNotFound, ContentMissing, SourceAway.

        Of a small image there may be no thumbnail (`keeps_thumbnail`): this is the content then, as its `kind` says.
        What is open can be read to its end, whoever deletes the image meanwhile.
        """
        with self._gate.enter():
            record = self._catalog.images.get(id)
            if kind == "thumbnail":
                try:
                    return self._opened(record, kind)
                except FileNotFoundError as error:
                    if thumbnails.keeps_thumbnail(record.width, record.height, record.size):
                        self._catalog.images.get(id)  # or was it deleted just now?
                        raise ContentMissing(id, self._content.location(record.sha256, kind)) from error
            try:
                return self._opened(record, "content")
            except FileNotFoundError as error:
                self._catalog.images.get(id)
                away = any(is_away(location.root) for location in self._catalog.sources.locate(record.sha256))
                missing = SourceAway if away else ContentMissing
                raise missing(id, self._content.location(record.sha256, "content")) from error

    def content_url(self, record: ImageRecord, seconds: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL at which anyone can read the content of an image for so many seconds, as `signed_url` of the
        store does. None if there is none, also if the content is missing: `open_file` says so then.
        """
        with self._gate.enter():
            return self._content.signed_url(record.sha256, "content", seconds, headers)

    def _opened(self, record: ImageRecord, kind: ContentKind) -> ImageFile:
        """Open a file; FileNotFoundError."""
        content = self._content.open(record.sha256, kind)
        media_type = record.media_type if kind == "content" else thumbnails.MEDIA_TYPE
        return ImageFile(record, kind, media_type, content, lasting=self._content.has_copy(record.sha256))

    def thumbnail(self, sha256: str) -> bytes | None:
        """Return the thumbnail (JPEG) of the content with this digest, None if there is none; asks no catalog."""
        with self._gate.enter():
            try:
                with closing(self._content.open(sha256, "thumbnail")) as content:
                    return content.read()
            except (FileNotFoundError, ValueError):  # ValueError: it is no digest
                return None

    def search(
        self,
        vector: npt.NDArray[Any],
        k: int,
        target: Target,
        *,
        cursor: str | None = None,
        filters: Mapping[str, str] | None = None,
        exclude: Sequence[str] = (),
        min_score: float | None = None,
        concepts: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
    ) -> Page[Hit]:
        """Return the k records nearest to `vector` (D,), best first, ties in the order of adding.

        Only records match that have the `filters`, the `concepts` and what `photo` demands of their files. Where few
        match, the search is exact among them.
        Records with the ids in `exclude` are left out (unknown ids do no harm), and those that score below
        `min_score`. A cursor continues the very same query (k may differ) after the last hit of its page: deleted
        records are missing, nothing comes twice. InvalidVector, InvalidCursor, InvalidFilter, SpaceMismatch.
        """
        _require_positive("k", k)
        with self._gate.enter():
            state = self._state
            query = Query(
                vector=unit_vector(vector, state.space.dimension),
                where=Where(checked_filters(filters), checked_words(concepts), photo, tuple(dict.fromkeys(exclude))),
                min_score=min_score,
            )
            collection = self._collection(target)
            while True:
                try:
                    return search_page(collection, self._indexes[target], state, query, k, cursor)
                except GenerationChanged:
                    state = self._follow(state)

    def is_ready(self, target: Target) -> bool:
        """Tell whether a search for a target would begin at once: nothing has to be loaded, and no server asked."""
        return self._indexes[target].is_ready()

    def follow(self) -> None:
        """Take over what any process committed, where somebody has searched: the next search then has less to do."""
        with self._gate.enter():
            for index in self._indexes.values():
                index.follow()

    def count(self, target: Target) -> int:
        """Return how many images or sentences there are."""
        with self._gate.enter():
            return self._collection(target).count({})

    def images_state(self) -> tuple[int, ...]:
        """Return numbers that differ after images were added, deleted or embedded anew, or their number has changed."""
        with self._gate.enter():
            head = self._catalog.images.head()
            return head.generation, head.key, head.deletion, self._catalog.images.count({})

    def stats(self) -> LibraryStats:
        """Return what the library holds; this loads the vector indexes."""
        with self._gate.enter():
            state = self._catalog.state()
            return LibraryStats(
                library_id=state.library_id,
                space=state.space,
                generation=state.generation,
                schema_version=state.schema_version,
                images=self._catalog.images.count({}),
                sentences=self._catalog.sentences.count({}),
                content_bytes=self._catalog.content_size(),
                catalog_bytes=self._catalog.size(),
                captions_owed=self._catalog.captions.owed(),
                captions_given_up=self._catalog.captions.given_up(),
                image_index=self._indexes["images"].stats(),
                sentence_index=self._indexes["sentences"].stats(),
            )

    def engines(self) -> list[EngineState]:
        """Return how the engines on other machines do, as seen from here; none of them is asked."""
        vectors = [index.engine() for index in self._indexes.values()]
        states = [self._catalog.engine(), *vectors, self._content.engine()]
        found: dict[Part, EngineState] = {}
        for state in states:
            if state is not None:
                found[state.part] = state.with_more(found.get(state.part))
        return list(found.values())

    def lag(self) -> dict[Target, int]:
        """Return how many additions and deletions the engine of the vectors has not yet, as far as known here."""
        return {target: index.lag() for target, index in self._indexes.items()}

    def check(self, deep: bool = False) -> list[str]:
        """Return every inconsistency as a sentence, none if all is well; `deep` reads all content files."""
        checks: list[Callable[[], list[str]]] = [
            self._catalog.problems,
            lambda: maintenance.content_problems(self._catalog, self._content, deep),
            *(index.problems for index in self._indexes.values()),
        ]
        found: list[str] = []
        with self._gate.enter():
            for check in checks:
                try:
                    found += check()
                except LibraryError as error:  # too broken to look further
                    found.append(str(error))
        return found

    def remove_orphans(self) -> int:
        """Remove what writers that died left behind over an hour ago; return of how many images.

        It looks at every file, one batch after another, and ends when the library is closed meanwhile: LibraryClosed.
        """
        removed = 0
        with self._gate.enter():
            self._content.sweep_unfinished(time.time() - maintenance.ORPHAN_GRACE)
        batches = maintenance.orphans(self._catalog, self._content)
        while True:
            with self._gate.enter():
                orphans = next(batches, None)
                if orphans is None:
                    return removed
                if orphans:
                    maintenance.remove(self._catalog, self._content, orphans)
            removed += len(orphans)

    def repair(self, render: RenderThumbnail) -> list[str]:
        """Mend what `check` finds and can be mended; return what was done. `render` makes a thumbnail of a content."""
        with self._gate.enter():
            return repairing.repair(self._catalog, self._content, render)

    def reindex(
        self,
        space: Space,
        embed_images: EmbedImages,
        embed_sentences: EmbedSentences,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Replace all vectors by those of `space`, in one step at the end.

        `embed_images` takes contents and `embed_sentences` texts, in batches, and both return (n, D); what
        they raise comes through, and the next call with the same space goes on where this one stopped.
        `progress` gets how many records of how many are done. ContentMissing, InvalidVector, ReindexConflict.
        """
        with self._gate.enter():
            Reindexing(self._catalog, self._content, space, progress).run(embed_images, embed_sentences)
            self._state = self._catalog.state()

    def rebuild_index(self, target: Target, pace: Pace) -> IndexStats:
        """Derive a vector index anew from the catalog, while it is searched; return what it is then. EngineAway.

        That is not needed in the course of things: an index that is lost or damaged comes back by itself.
        """
        with self._gate.enter():
            index = self._indexes[target]
            index.rebuild(pace)
            index.refresh()
            return index.stats()

    def _list(
        self,
        collection: Collection[R],
        cursor: str | None,
        limit: int,
        filters: Mapping[str, str] | None,
        concepts: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> Page[R]:
        _require_positive("limit", limit)
        wanted = checked_filters(filters)
        parts = [part for item in wanted.items() for part in item]
        words = checked_words(concepts)
        chosen = (str(len(words)), *words, repr(photo), repr(order))
        identity = fingerprint(self._state.library_id, collection.target, *parts, *chosen)
        last = ListCursor.decode(cursor, identity) if cursor is not None else None
        after = None if last is None else Spot(last.key, last.taken)
        rows = collection.page(after, limit + 1, wanted, words, photo, order)
        end = rows[limit - 1][0] if len(rows) > limit else None
        return Page(
            items=[record for _, record in rows[:limit]],
            next_cursor=None if end is None else ListCursor(end.key, end.taken).encode(identity),
            total=collection.count(wanted, words, photo),
        )

    def _collection(self, target: Target) -> Collection[Any]:
        """Return a collection by name; ValueError."""
        for collection in cast(tuple[Collection[Any], ...], (self._catalog.images, self._catalog.sentences)):
            if collection.target == target:
                return collection
        raise ValueError(f"There are images and sentences, but no {target!r}.")

    def _follow(self, state: CatalogState) -> CatalogState:
        """Return the present state after a reindex; SpaceMismatch if it changed the space."""
        current = self._catalog.state()
        if not current.space.agrees_with(state.space):
            raise SpaceMismatch(current.space, state.space)
        self._state = current
        return current


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")
