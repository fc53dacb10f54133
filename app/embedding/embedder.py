"""Bytes and sentences of callers to vectors: decoding, batching and remembering in one place."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np

from app.captions.writing import CaptionWriter
from app.concepts import name_concepts
from app.embedding.batcher import Batcher, BatchFunction, Lane, Left, Observer, Place, batched, never
from app.embedding.cache import Vector, VectorCache
from app.embedding.fairness import ByteBudget, ClientLeft, FairPool, ShuttingDown
from app.embedding.memory_budget import FilesInMemory, size_of
from app.embedding.pictures import SMALL, load_jpeg, load_picture, load_thumbnail
from app.embedding.query_texts import QueryTexts
from app.results import CaptionOptions, Embedding
from app.settings import Settings
from app.shared.group import WorkerGroup
from model import threads
from model.errors import ImageError, TextError
from model.images.limits import ImageLimits
from model.images.processes import Decoders
from model.images.types import DecodedImage
from model.space import JointSpace
from model.towers.interfaces import Prepared

if TYPE_CHECKING:
    from PIL.Image import Image

    from model.captioner import Caption

T = TypeVar("T")
P = ParamSpec("P")

CHECK_TIMEOUT = 10.0
"""Seconds after which an embedding that does not come counts as a failure of a check."""

_AT_ONCE = {"cpu": 4, "cuda": 16}
"""Images that are embedded between two looks at whether the service stops. On a processor more are no faster, and each
takes 22 MB; two at a time are as fast by themselves, but slower by a twentieth beside the decoding."""


class Embedder:
    """Embeds and captions for many threads at once. Owns pools that decode images and the batcher, until `close`.

    The pools bound how many images are decoded at a time, and so the memory which hostile ones can take. Whoever wants
    something takes a place first (`admit`), and keeps it until it has everything; and before it reads files, it takes
    their bytes of a budget (`memory`). Searches have a pool, and a quarter of the budget, of their own.
    """

    def __init__(self, space: JointSpace, settings: Settings, group: WorkerGroup | None = None) -> None:
        """Nobody may ask for captions where the bundle has no captioner (`can_caption`)."""
        self._space = space
        self._ending = threading.Event()
        self._batch_size = settings.batch_size
        self._recent = VectorCache(shared=None if group is None else group.vectors)
        self._query_texts = QueryTexts(self._embed_texts, self._recent, settings.batch_size)
        self.limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
        self._processes = Decoders()
        self._pools: dict[Lane, FairPool] = {
            "search": FairPool(1, "visem-decode-search"),
            "bulk": FairPool(settings.decode_threads or threads.available(), "visem-decode"),
        }
        for_searches = settings.memory_budget // 4
        self.memory: dict[Lane, ByteBudget] = {
            "search": ByteBudget(for_searches),
            "bulk": ByteBudget(settings.memory_budget - for_searches - settings.json_budget),
        }
        # A batch that is done makes sixteen uploads go on at once. Threads that compute in Python take turns, and a
        # search among sixteen of them would wait sixteen times as long.
        self.turn = threading.Semaphore(max(1, threads.available() // 2))
        functions: dict[str, BatchFunction] = {
            "images": self._embed_images,
            "texts": self._embed_texts,
        }
        if self.can_caption:
            functions["captions"] = CaptionWriter(space, self._require_open)
        self._batcher = Batcher(
            functions,
            places={"search": settings.max_searches, "bulk": settings.max_jobs},
            max_batch=settings.batch_size,
            max_wait=settings.batch_wait_ms / 1000,
            name="visem-embed",
        )

    @property
    def can_caption(self) -> bool:
        """Whether the bundle has a captioner."""
        return self._space.config.captioner is not None

    def taken(self, lane: Lane) -> int:
        """How many places in a lane are taken: requests at work or waiting."""
        return self._batcher.taken(lane)

    def admit(self, lane: Lane, client: str = "", left: Left = never) -> AbstractContextManager[Place]:
        """A place to work from; as `Batcher.admit`."""
        return self._batcher.admit(lane, client, left)

    def decoding(self, place: Place, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function that decodes called when it is the client's turn."""
        return self._pools[place.lane].submit(place.client, function, *args, **kwargs)

    def stop(self) -> None:
        """Fail what waits and what is computed with ShuttingDown, and return before that has ended. Idempotent."""
        self._ending.set()
        self._batcher.refuse()
        for lane in self._pools:
            self.memory[lane].close()
            self._pools[lane].refuse()
        self._processes.close()  # so that nobody waits for a picture that takes long

    def close(self) -> None:
        """Stop, and wait for the threads. Idempotent."""
        self.stop()
        self._batcher.close()
        for pool in self._pools.values():
            pool.close()

    def load(self, data: bytes) -> DecodedImage:
        """An image file as a picture at working size, decoded in a process of its own; ImageError, DecodersClosed."""
        return load_picture(data, self.limits, self._processes.decode)

    def prepare(self, image: Image) -> Prepared:
        """What the networks see of a picture: as `images`, the batcher makes a vector (D,) of it."""
        return self._space.image.prepare(image)

    def _load_and_prepare(self, place: Place, data: bytes) -> Prepared:
        if place.left():
            raise ClientLeft
        return self.prepare(self.load(data).image)

    def image(self, data: bytes, place: Place) -> Vector:
        """The vector (D,) of an image file that asks for something; ImageError."""

        def compute() -> Vector:
            prepared = self.decoding(place, self._load_and_prepare, place, data).result()
            (future,) = place.submit("images", [prepared])
            vector: Vector = future.result()
            return vector

        return self._recent.get(f"image {threads.aside(len(data), hashlib.sha256, data).hexdigest()}", compute)

    def jpeg(self, data: bytes, side: int, place: Place) -> bytes:
        """An image file as a JPEG to show, of at most `side` pixels a side, without its metadata; ImageError."""
        return self.decoding(place, load_jpeg, data, self.limits, side, self._processes.decode).result()

    def thumbnail(self, data: bytes, place: Place) -> bytes:
        """The thumbnail (JPEG) of an image file of which none is kept, as it is small; ImageError."""
        return self.decoding(place, load_thumbnail, data, SMALL, self._processes.decode).result()

    def announce(self, text: str, left: Left) -> None:
        """Note that `sentence` is about to be asked for a text: then it is embedded together with others.

        Not if the client that wants it has `left` by then.
        """
        self._query_texts.announce(text, left)

    def sentence(self, text: str) -> Vector:
        """The vector (D,) of a sentence that asks for something; EmptyTextError, NoKnownWordsError, ShuttingDown."""
        return self._query_texts.get(text)

    def observe(self, observer: Observer) -> None:
        """Call an observer for every batch from now on."""
        self._query_texts.observer = observer
        self._batcher.observe(observer)

    def captions(self, vector: Vector, options: CaptionOptions, place: Place) -> list[Caption]:
        """Captions of an image by its vector (D,), best first; StructureError, EmptyTextError."""
        (future,) = place.submit("captions", [(vector, options)])
        captions: list[Caption] = future.result()
        return captions

    def in_background(self, kind: Literal["texts", "captions"], items: Sequence[Any]) -> list[Future[Any]]:
        """What the batcher makes of each item, in order, for the one thread of the service that nobody waits for."""
        return self._batcher.submit("bulk", kind, items)

    def texts(self, texts: Sequence[str], place: Place) -> list[Embedding]:
        """Vectors of sentences, in order; an item without one has the code and reason instead."""
        embeddings: list[Embedding] = []
        for text, future in zip(texts, place.submit("texts", texts), strict=True):
            unknown = tuple(self._space.unknown_words(text))
            try:
                embeddings.append(Embedding(future.result(), unknown))
            except TextError as error:
                embeddings.append(Embedding(None, unknown, error.code, str(error)))
        return embeddings

    def images(self, images: Iterable[bytes | ImageError], place: Place) -> Iterator[Embedding]:
        """Vectors of image files, in order; an item without one has the code and reason instead."""
        incoming = FilesInMemory(self.memory[place.lane], place.client, self.limits.max_bytes)
        remaining = iter(images)
        while True:
            incoming.wait_for_room()
            chunk = incoming.read(remaining, self._batch_size, size_of)
            try:
                if not chunk.items:
                    return
                yield from self._embed_chunk(chunk.items, place)
            finally:
                chunk.release()

    def _embed_chunk(self, chunk: Sequence[bytes | ImageError], place: Place) -> Iterator[Embedding]:
        preparing = [
            data if isinstance(data, ImageError) else self.decoding(place, self._load_and_prepare, place, data)
            for data in chunk
        ]
        embedding: list[Future[Vector] | ImageError] = []
        for one in preparing:
            try:
                if isinstance(one, ImageError):
                    raise one
                embedding += place.submit("images", [one.result()])
            except ImageError as error:
                embedding.append(error)
        for outcome in embedding:
            if isinstance(outcome, ImageError):
                yield Embedding(None, code=outcome.code, reason=str(outcome))
            else:
                yield Embedding(outcome.result())

    def _embed_texts(self, texts: list[str]) -> list[Vector]:
        self._require_open()
        return list(self._space.embed_texts(texts))

    def _embed_images(self, prepared: Sequence[Prepared]) -> list[Vector]:
        vectors: list[Vector] = []
        for some in batched(prepared, _AT_ONCE[self._space.device]):
            self._require_open()
            vectors += list(self._space.image.encode(some))
        return vectors

    def _require_open(self) -> None:
        if self._ending.is_set():
            raise ShuttingDown

    def concepts(self, vectors: Sequence[Vector]) -> list[list[tuple[str, float]]]:
        """Words for what each of the vectors (D,) shows, best first, with their probabilities."""
        return name_concepts(self._space, np.stack(vectors)) if vectors else []

    def check(self) -> Vector:
        """Embed a word for real, not from memory; TimeoutError when it takes too long."""
        anywhere = np.eye(1, self._space.dimension, dtype=np.float32)
        (nearest,) = self._space.nearest_words(anywhere, 1)
        word = nearest[0][0] if nearest else "photograph"  # a text tower without words of its own knows every one
        (future,) = self._batcher.submit("search", "texts", [word])
        vector: Vector = future.result(timeout=CHECK_TIMEOUT)
        return vector
