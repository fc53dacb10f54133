"""The one implementation behind HTTP, the command line and the pages. Synchronous and thread-safe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

from app.captions.background import CaptionKeeper
from app.captions.writing import captioner_missing
from app.concepts import name_concepts
from app.embedding.batcher import Lane, Left, Observer, Place, never
from app.embedding.embedder import CHECK_TIMEOUT, Embedder
from app.embedding.fairness import ShuttingDown
from app.embedding.memory_budget import DECODED_BYTES
from app.embedding.sample_queries import sample_vectors
from app.ingest.sources.following import SourceFollower
from app.ingest.sources.shared_status import SourceBoard
from app.libraries import open_library
from app.metadata import merge_patch
from app.problems import PROBLEMS, Problem
from app.results import (
    CaptionMode,
    CaptionOptions,
    Captions,
    Embedding,
    ModelInfo,
    SentenceResult,
)
from app.search.engine import SearchEngine
from app.search.expression import Expression
from app.search.follower import IndexFollower
from app.search.results import SearchOptions, SearchResult
from app.search.threads import SearchThreads
from app.settings import Settings
from app.shared.group import WorkerGroup
from app.thumbnails import Thumbnails
from index import (
    ANY_PHOTO,
    NEWEST_FIRST,
    CaptionOrigin,
    CaptionRecord,
    EngineState,
    ImageFile,
    ImageRecord,
    InvalidMetadata,
    Library,
    LibraryClosed,
    LibraryError,
    LibraryStats,
    Month,
    NewCaption,
    NewSentence,
    Order,
    Page,
    PhotoFilter,
    SentenceRecord,
    SourceFile,
    Space,
    Target,
)
from model.bundle import MODEL_CARD
from model.errors import ImageError
from model.space import JointSpace

if TYPE_CHECKING:  # a search does without
    from app.fetching import Fetcher
    from app.ingest.pipeline import IncomingFile, IngestResult
    from app.maps.maps import Maps
    from app.maps.projection import Map

_log = logging.getLogger(__name__)

T = TypeVar("T")

_URL_SECONDS = 300


class Service:
    """A joint space and a library at work. Made by `open`, ended by `close`; a context manager.

    Errors are those of the parts: Problem (app), QueryError (app.search.expression), ModelError (model), LibraryError
    (index); each has a stable `code` and a message for people.
    """

    def __init__(
        self, space: JointSpace, library: Library, settings: Settings, group: WorkerGroup | None = None
    ) -> None:
        """`group`: the workers of which this service is one, if it is not alone."""
        self.space = space
        self.library = library
        self.settings = settings
        self.group = group
        self._embedder = Embedder(space, settings, group)
        self.limits = self._embedder.limits
        self._fetching = threading.Lock()  # guards the next two
        self._fetcher: Fetcher | None = None
        self._stopped = False
        self._searching = SearchThreads(SearchEngine(space, library, self._embedder), settings)
        self._follower = IndexFollower(library)
        self._thumbnails = Thumbnails(library, self._embedder)
        self.captions_kept = CaptionKeeper(library, self._embedder)
        board = None if group is None else SourceBoard(group.sources, group.leads)
        self.sources = SourceFollower(library, self.ingest, settings, board=board)

    @classmethod
    def open(cls, settings: Settings, *, space: JointSpace | None = None, group: WorkerGroup | None = None) -> Self:
        """Load the bundle (unless a loaded `space` is given) and open the library, creating it when absent.

        BundleError names the damaged file; SpaceMismatch says that `visem reindex` is needed.
        """
        if space is None:
            space = JointSpace.load(settings.bundle, device=settings.device)
        library = open_library(settings, library_space(space))
        library.backfill.describe(partial(name_concepts, space))
        return cls(space, library, settings, group)

    def start(self) -> None:
        """Begin what a service does by itself: follow folders, write owed captions, remove what dead writers left.

        Of several workers the leader follows folders and removes; captions are claimed, so that all can write them.
        """
        leads = self.group is None or self.group.leads()
        self.sources.start()
        if self.settings.catalog is None and self.settings.vectors is None:  # elsewhere each look would ask a server
            self._follower.start()
        self.captions_kept.wake()  # for what a service before this one still owes
        # On S3 it takes a listing of everything: `visem info --repair` does it.
        if leads and self.settings.content is None:
            threading.Thread(target=self._remove_orphans, name="visem-orphans", daemon=True).start()

    def stop(self) -> None:
        """End what is at work, refuse what waits with ShuttingDown, and return before that has ended. Idempotent."""
        self.sources.stop()
        self._follower.stop()
        self.captions_kept.stop()
        with self._fetching:
            self._stopped = True
        if self._fetcher is not None:
            self._fetcher.close()
        self._searching.refuse()
        if "_maps" in self.__dict__:
            self._maps.stop()
        self._embedder.stop()

    def close(self) -> None:
        """Stop the threads, refuse what still waits, close the library. Idempotent."""
        self.sources.close(timeout=1.0)  # in order if that is quick, or else by what is stopped under it
        self.stop()
        self._searching.close()
        self._follower.close()
        self._embedder.close()
        self.sources.close()
        self.captions_kept.close()
        self.library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Images

    def ingest(
        self,
        files: Iterable[IncomingFile],
        metadata: Mapping[str, Any] | None = None,
        *,
        captions: int | None = None,
        place: Place | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[IngestResult, None, None]:
        """Store photographs while iterated over; yield a result for each, in order, once it is durable.

        `files` is read lazily, so it may be an endless stream; `metadata` is given to every new record. A bad
        file is a result with status "rejected", not an exception. An image that waits for its deletion is kept when it
        is stored again. `captions`: how many each new image gets in the background (None: as the settings say). Once
        `stop` returns true there are no results for files whose decoding has not begun: they are not stored.
        InvalidMetadata, Problem captioner_missing; Overloaded, before anything is read.
        """
        from app.ingest.destination import LibraryDestination
        from app.ingest.pipeline import Ingestion

        count = self.captions_owed(captions)
        ingestion = Ingestion(
            LibraryDestination(self.library), self._embedder, self.settings.batch_size, metadata or {}, count, stop
        )
        return self._ingest(partial(ingestion.run, files), count, place)

    def captions_owed(self, captions: int | None = None) -> int:
        """How many captions each new image gets in the background (None: as the settings say).

        Problem captioner_missing.
        """
        count = self.settings.caption_images if captions is None else captions
        if count and not self._embedder.can_caption:
            raise captioner_missing(self.space)
        return count

    def fetch(self, url: str) -> IncomingFile:
        """The image at an address; Problem fetch_disabled, address_refused, fetch_failed, overloaded; ImageError."""
        if self.settings.fetch != "on":
            raise Problem("fetch_disabled", PROBLEMS["fetch_disabled"].meaning)
        from app.fetching import Fetcher
        from app.ingest.pipeline import IncomingFile

        with self._fetching:
            if self._stopped:
                raise ShuttingDown
            if self._fetcher is None:
                self._fetcher = Fetcher(self.limits.max_bytes)
        return IncomingFile(*self._fetcher.fetch(url))

    def _ingest(
        self, run: Callable[[Place], Iterator[IngestResult]], captions: int, place: Place | None
    ) -> Generator[IngestResult, None, None]:
        with self._in("bulk", place) as taken:
            for result in run(taken):
                if captions and result.status == "created":
                    self.captions_kept.wake()
                yield result

    def get_image(self, image_id: str) -> ImageRecord:
        """The record of an image; RecordNotFound."""
        return self.library.get_image(image_id)

    def image_files(self, image_id: str) -> list[SourceFile]:
        """The files of an image in folders in place; none if there are only copies."""
        return self.library.sources.of([image_id]).get(image_id, [])

    def list_images(
        self,
        cursor: str | None = None,
        limit: int = 50,
        filters: Mapping[str, str] | None = None,
        concepts: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> Page[ImageRecord]:
        """A page of images, newest first or as `order` says; InvalidCursor, InvalidFilter.

        `concepts` are words that are near to them, `photo` is what their files have to say.
        """
        return self.library.list_images(cursor, limit, dict(filters or {}), concepts, photo, order)

    def months(self) -> list[Month]:
        """In which months photographs were taken, the latest first."""
        return self.library.months()

    def unread_facts(self) -> int:
        """How many images there are whose files nobody has asked yet what they say."""
        return self.library.backfill.unread_facts()

    def patch_image(self, image_id: str, patch: Mapping[str, Any]) -> ImageRecord:
        """Apply a JSON merge patch (RFC 7396) to the metadata of an image; RecordNotFound, Problem."""
        try:
            return self.library.update_image(image_id, lambda record: merge_patch(record.metadata, dict(patch)))
        except InvalidMetadata as error:
            reason = str(error)
            raise Problem(
                "invalid_request", f"metadata: {reason}", errors=[{"field": "metadata", "reason": reason}]
            ) from None

    def delete_image(self, image_id: str) -> None:
        """Delete an image: its record, vector, files and captions; RecordNotFound."""
        self.library.delete_image(image_id)

    def image_content(self, image_id: str) -> ImageFile:
        """The original file of an image, as it was uploaded, open; RecordNotFound, ContentMissing."""
        return self.library.open_file(image_id, "content")

    def content_url(self, image_id: str, headers: Callable[[ImageRecord], Mapping[str, str]]) -> str | None:
        """A URL at which anyone can read the original file for five minutes, a secret; RecordNotFound.

        None unless the settings want such URLs, and for a file that is not on S3. `headers` tells which ones the file
        is answered with.
        """
        if self.settings.s3_presigned == "off":
            return None
        record = self.library.get_image(image_id)
        return self.library.content_url(record, _URL_SECONDS, headers(record))

    def image_thumbnail(self, image_id: str, client: str = "") -> ImageFile:
        """The JPEG thumbnail of an image, open; RecordNotFound, ContentMissing.

        It may be made only when it is read: ImageError, StorageFailed, Overloaded.
        """
        return self._thumbnails.of_image(image_id, client)

    def thumbnail_of(self, sha256: str, client: str = "") -> bytes | None:
        """The JPEG thumbnail of a content; None if no image has it. Errors as `image_thumbnail`."""
        return self._thumbnails.of_content(sha256, client)

    def jpeg(self, image: bytes, side: int, place: Place | None = None) -> bytes:
        """An image file as a JPEG to show, of at most `side` pixels a side, without its metadata; ImageError.

        As everything that decodes images it waits for its turn on the pool that bounds how many are in memory.
        Overloaded.
        """
        with self._in("search", place) as taken:
            return self._embedder.jpeg(image, side, taken)

    # Sentences

    def add_sentences(
        self, texts: Sequence[str], metadata: Mapping[str, Any] | None = None, *, place: Place | None = None
    ) -> list[SentenceResult]:
        """Store sentences; a result for each, in order. One of which the model knows no word is rejected.

        One that the captioner wrote becomes people's own: it loses its `origin`, and stays when the image goes.
        Overloaded.
        """
        normalised = [" ".join(text.split()) for text in texts]
        with self._in("bulk", place) as taken:
            embeddings = self._embedder.texts(normalised, taken)
            accepted = [
                NewSentence(text=text, vector=embedding.vector, metadata=dict(metadata or {}))
                for text, embedding in zip(normalised, embeddings, strict=True)
                if embedding.vector is not None
            ]
            added = iter(self.library.add_sentences(accepted) if accepted else ())
        results: list[SentenceResult] = []
        for text, embedding in zip(normalised, embeddings, strict=True):
            if embedding.vector is None:
                result = SentenceResult(
                    "rejected", text, None, embedding.unknown_words, embedding.code, embedding.reason
                )
            else:
                one = next(added)
                status: Literal["created", "duplicate"] = "created" if one.created else "duplicate"
                result = SentenceResult(status, text, one.record, embedding.unknown_words)
            results.append(result)
        return results

    def get_sentence(self, sentence_id: str) -> SentenceRecord:
        """The record of a sentence; RecordNotFound."""
        return self.library.get_sentence(sentence_id)

    def list_sentences(
        self, cursor: str | None = None, limit: int = 50, filters: Mapping[str, str] | None = None
    ) -> Page[SentenceRecord]:
        """A page of sentences, newest first; InvalidCursor, InvalidFilter."""
        return self.library.list_sentences(cursor=cursor, limit=limit, filters=dict(filters or {}))

    def delete_sentence(self, sentence_id: str) -> None:
        """Delete a sentence; RecordNotFound."""
        self.library.delete_sentence(sentence_id)

    # Searching

    def search(
        self,
        query: Expression | str | None = None,
        options: SearchOptions | None = None,
        *,
        image: bytes | None = None,
        place: Place | None = None,
    ) -> SearchResult:
        """Find what is nearest to an expression, to an image (its bytes), or to both; as `SearchEngine.search`.

        ImageError, Overloaded, ShuttingDown.
        """
        with self._in("search", place) as taken:
            vector = None if image is None else self._embedder.image(image, taken)
            wanted = options or SearchOptions()
            return self._searching.begin(query, wanted, vector, taken.client, lambda found: found, taken.left).result()

    async def answer_search(
        self, query: Expression, options: SearchOptions, place: Place, then: Callable[[SearchResult], T]
    ) -> T:
        """Search, and return what `then` makes of the result; errors as `search`.

        For the event loop, which goes on meanwhile unless the search is short.
        """
        return await self._searching.answer(query, options, place.client, then, place.left)

    def map(self, words: Sequence[str], limit: int, *, place: Place | None = None) -> Map:
        """Images of the library (a sample of them beyond `limit`) and words in a plane.

        TextError for a word; Overloaded.
        """
        with self._in("bulk", place):
            return self._maps.draw(words, limit)

    def in_turn(self) -> AbstractContextManager[object]:
        """For what takes the interpreter long beside searches: one after the other, or a few where there are cores."""
        return self._embedder.turn

    @cached_property
    def _maps(self) -> Maps:
        from app.maps.maps import Maps

        return Maps(self.space, self.library)

    # Captions

    def captions(
        self,
        options: CaptionOptions | None = None,
        *,
        image: bytes | None = None,
        image_id: str | None = None,
        place: Place | None = None,
    ) -> Captions:
        """Describe an image, given by its bytes or by its id: new sentences, or the nearest of the library.

        Problem captioner_missing for mode "generate" without a captioner; StructureError, ImageError, RecordNotFound,
        Overloaded.
        """
        options = options or CaptionOptions()
        mode: CaptionMode = options.mode or self.caption_modes[0]
        if mode not in self.caption_modes:
            raise captioner_missing(self.space)
        if (image is None) == (image_id is None):
            raise Problem("invalid_request", "Give an image or an image_id: exactly one of them.")
        with self._in("bulk", place) as taken:
            if image is not None:
                vector = self._embedder.image(image, taken)
            else:
                (vector,) = self.library.image_vectors([str(image_id)])
            if mode == "generate":
                return Captions(mode, self._embedder.captions(vector, options, taken))
        return Captions(mode, self.library.search(vector, options.n, "sentences").items)

    @property
    def caption_modes(self) -> tuple[CaptionMode, ...]:
        """How this bundle can caption; the first one is the default."""
        return ("generate", "retrieve") if self._embedder.can_caption else ("retrieve",)

    def wait_for_captions(self, report: Callable[[int], None] = lambda pending: None) -> None:
        """Return when all new images have their captions; `report` gets the number of images that wait."""
        self.captions_kept.wait(report)

    def image_captions(self, image_id: str) -> list[CaptionRecord]:
        """The stored captions of an image, people's own first; RecordNotFound."""
        return self.library.captions.of(image_id)

    def set_captions(self, image_id: str, texts: Sequence[str]) -> list[CaptionRecord]:
        """Make these people's own captions of an image, in this order, and return all that it has.

        All of them or none: RecordNotFound; Problem invalid_request for more than `max_texts` of them, and
        sentences_rejected if the model knows no word of one.
        """
        if len(texts) > self.settings.max_texts:
            reason = f"an image takes at most {self.settings.max_texts} captions of your own"
            errors = [{"field": "captions", "reason": reason}]
            raise Problem("invalid_request", f"captions: {reason}", errors=errors)
        self.library.get_image(image_id)  # before anything is embedded
        normalised = [" ".join(text.split()) for text in texts]
        news: list[NewCaption] = []
        rejected: list[dict[str, Any]] = []
        for text, embedding in zip(normalised, self.embed_texts(normalised), strict=True):
            if embedding.vector is None:
                rejected.append({"text": text, "code": embedding.code, "reason": embedding.reason})
            else:
                news.append(NewCaption(text, embedding.vector))
        if rejected:
            raise Problem(
                "sentences_rejected", f"{rejected[0]['text'][:100]}: {rejected[0]['reason']}", errors=rejected
            )
        return self.library.captions.set(image_id, news)

    def delete_captions(self, image_id: str, origin: CaptionOrigin | None = None) -> None:
        """Delete the captions of an image, or those of one origin; RecordNotFound. People's own sentences stay."""
        self.library.captions.delete(image_id, origin)

    # Embeddings

    def embed_texts(self, texts: Sequence[str], *, place: Place | None = None) -> list[Embedding]:
        """Vectors of sentences, in order; an item without one has the code and reason instead. Overloaded."""
        with self._in("bulk", place) as taken:
            return self._embedder.texts(texts, taken)

    def embed_images(self, images: Iterable[bytes | ImageError], *, place: Place | None = None) -> Iterator[Embedding]:
        """Vectors of image files, in order; an item without one has the code and reason instead. Overloaded."""
        with self._in("bulk", place) as taken:
            yield from self._embedder.images(images, taken)

    # About the service

    def admit(self, lane: Lane, client: str = "", left: Left = never) -> AbstractContextManager[Place]:
        """A place for what a client wants, which methods take as `place`; without, they take one themselves.

        Overloaded, at once, when there is none. ClientLeft, in what the place is for, if that has not begun when the
        client has `left`.
        """
        return self._embedder.admit(lane, client, left)

    def reading(self, size: int, place: Place) -> AbstractContextManager[None]:
        """Room in memory for one file of `size` bytes; waits until there is some. ShuttingDown."""
        return self._embedder.memory[place.lane].hold(place.client, size + DECODED_BYTES)

    def _remove_orphans(self) -> None:
        try:
            if removed := self.library.remove_orphans():
                _log.info("Removed the files of %d contents that no image names.", removed)
        except LibraryClosed:
            pass
        except LibraryError as error:
            _log.warning("Files that no image names are left for the next start: %s", error)

    def _in(self, lane: Lane, place: Place | None) -> AbstractContextManager[Place]:
        return self._embedder.admit(lane) if place is None else nullcontext(place)

    def observe_batches(self, observer: Observer) -> None:
        """Call an observer for every batch that is embedded, with its kind, size and seconds."""
        self._embedder.observe(observer)

    def model(self) -> ModelInfo:
        """The bundle at work."""
        space = self.space
        return ModelInfo(
            space.id,
            space.name,
            space.dimension,
            space.device,
            space.config,
            space.text.encoder,
            space.text.known_words,
        )

    def model_card(self) -> str:
        """What its makers say about the bundle, in Markdown."""
        return (self.space.bundle.path / MODEL_CARD).read_text(encoding="utf-8")

    def stats(self) -> LibraryStats:
        """Figures of the library: counts, bytes, index."""
        return self.library.stats()

    def engines(self) -> list[EngineState]:
        """How the engines on other machines do, as seen from here."""
        return self.library.engines()

    def lag(self) -> dict[Target, int]:
        """How many additions and deletions the engine of the vectors has not yet."""
        return self.library.lag()

    def admitted(self) -> dict[Lane, int]:
        """How many requests are at work or waiting, by lane."""
        return {lane: self._embedder.taken(lane) for lane in get_args(Lane)}

    def check_ready(self) -> None:
        """Run a real embedding and a real search and ask the content store; raise whatever goes wrong."""
        vector = self._embedder.check()
        targets: tuple[Target, ...] = ("images", "sentences")
        for target in targets:
            found = self._searching.begin(None, SearchOptions(target, k=1), vector, "", lambda result: result)
            found.result(CHECK_TIMEOUT)
        self.library.ping()


def library_space(space: JointSpace) -> Space:
    """What a library remembers of the joint space that made its vectors, and vectors of texts for its index."""
    return Space(space.id, space.name, space.dimension, partial(sample_vectors, space))
