"""Embedding a library anew with another bundle, while it stays in use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from index.errors import ContentMissing, InvalidVector, NothingToEmbed, RecordNotFound
from index.interfaces import Catalog, Collection, ContentStore
from index.pacing import Progress
from index.types import ImageRecord, R, SentenceRecord, Space
from index.vector_encoding import unit_rows

if TYPE_CHECKING:
    import numpy.typing as npt

EmbedImages: TypeAlias = "Callable[[list[bytes]], npt.NDArray[Any]]"
EmbedSentences: TypeAlias = "Callable[[list[str]], npt.NDArray[Any]]"

_BATCH = 32


class Reindexing:
    """Stages a vector of the new space for every record, then swaps them all in one transaction.

    What is staged survives an interruption: the next run with the same space goes on from there. Records that
    others add meanwhile are embedded before the swap, and the swap refuses to leave anyone behind.
    """

    def __init__(self, catalog: Catalog, content: ContentStore, space: Space, progress: Progress) -> None:
        """Prepare to embed with `space`; `progress` is called with the number of records done and the number of all."""
        self._catalog = catalog
        self._content = content
        self._space = space
        self._progress = progress
        self._done = 0
        self._hidden: frozenset[int] = frozenset()

    def run(self, embed_images: EmbedImages, embed_sentences: EmbedSentences) -> None:
        """Do it. What the callables raise comes through; ContentMissing, InvalidVector, ReindexConflict."""
        self._done = self._catalog.begin_staging(self._space)
        self._tell()
        while True:
            self._stage(self._catalog.images, self._bytes, embed_images)
            self._stage(self._catalog.sentences, _text, embed_sentences)
            if self._catalog.swap_staged(self._space):
                return

    def _stage(
        self,
        collection: Collection[R],
        read: Callable[[R], Any | None],
        embed: Callable[[list[Any]], npt.NDArray[Any]],
    ) -> None:
        import numpy as np

        last = 0
        while batch := collection.unstaged(last, _BATCH):
            last = batch[-1][0]
            contents = {key: content for key, record in batch if (content := read(record)) is not None}
            if not contents:
                continue
            vectors = unit_rows(embed(list(contents.values())), self._space.dimension)
            if len(vectors) != len(contents):
                raise InvalidVector(f"{len(contents)} {collection.target} were embedded as {len(vectors)} vectors.")
            collection.stage(self._space, np.array(list(contents), dtype=np.int64), vectors)
            self._done += len(contents)
            self._tell()

    def _bytes(self, record: ImageRecord) -> bytes | None:
        """Return the content of an image; None if the image was deleted meanwhile."""
        try:
            with closing(self._content.open(record.sha256, "content")) as content:
                return content.read()
        except FileNotFoundError as error:
            try:
                self._catalog.images.get(record.id)
            except RecordNotFound:
                return None
            if self._is_hidden(record):
                # Its file is missing, perhaps for good, and nobody finds it until it is back: the thumbnail will do.
                return self._thumbnail(record)
            raise ContentMissing(record.id, self._content.location(record.sha256, "content")) from error

    def _is_hidden(self, record: ImageRecord) -> bool:
        """Tell whether nobody finds an image. All such are asked for again only when one is not among those known."""
        keys = self._catalog.images.keys_of([record.id]).tolist()
        if not self._hidden.issuperset(keys):
            self._hidden = frozenset(self._catalog.images.hidden().tolist())
        return self._hidden.issuperset(keys)

    def _thumbnail(self, record: ImageRecord) -> bytes:
        try:
            with closing(self._content.open(record.sha256, "thumbnail")) as content:
                return content.read()
        except FileNotFoundError as error:
            raise NothingToEmbed(record.id, record.filename) from error

    def _tell(self) -> None:
        total = self._catalog.images.count({}) + self._catalog.sentences.count({})
        self._progress(self._done, max(total, self._done))


def _text(record: SentenceRecord) -> str:
    return record.text
