"""Vectors of the texts that searches ask for, computed by the thread that asks, with what others are about to ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from app.embedding.batcher import Left, Observer, never
from app.embedding.cache import Vector, VectorCache
from model.errors import TextError


class QueryTexts:
    """Embeds texts of queries. Thread-safe.

    One thread computes at a time, for all texts that were announced by then (flat combining: Hendler et al., 2010): who
    waited for its turn finds its vector in the cache. So a text that comes alone is not handed to another thread, which
    would take as long as a good part of the embedding, and under load a batch costs a fraction of its texts.
    """

    def __init__(self, embed: Callable[[list[str]], Sequence[Vector]], cache: VectorCache, max_batch: int) -> None:
        """`embed` makes a vector (D,) of each text, in order, or raises TextError."""
        self._embed = embed
        self._cache = cache
        self._max_batch = max_batch
        self._turn = threading.Lock()
        self._announced: dict[str, Left] = {}  # in order; changed by one operation at a time
        self.observer: Observer | None = None

    def announce(self, text: str, left: Left = never) -> None:
        """Note that a text is about to be asked for: whoever computes next may compute it, too.

        Not if the client that wants it has `left` by then.
        """
        if not self._cache.has(_key(text)):
            self._announced[text] = left

    def get(self, text: str) -> Vector:
        """The vector (D,) of a text; EmptyTextError, NoKnownWordsError."""
        key = _key(text)
        kept = self._cache.find(key)
        if kept is not None:
            return kept
        with self._turn:
            kept = self._cache.find(key) if self._cache.has(key) else None  # by the one before
            return self._compute(text) if kept is None else kept

    def _compute(self, text: str) -> Vector:
        self._announced.pop(text, None)
        texts = [text]
        for other in list(self._announced):
            if len(texts) == self._max_batch:
                break
            left = self._announced.pop(other)
            if not left():
                texts.append(other)
        started = time.perf_counter()
        try:
            vectors = self._embed(texts)
        except TextError:
            if len(texts) == 1:
                raise
            texts, vectors = [text], self._embed([text])  # the others are computed, or refused, when they are asked for
        if self.observer is not None:
            self.observer("texts", len(texts), time.perf_counter() - started)
        kept = [self._cache.keep(_key(one), vector) for one, vector in zip(texts, vectors, strict=True)]
        return kept[0]


def _key(text: str) -> str:
    return f"text {text}"
