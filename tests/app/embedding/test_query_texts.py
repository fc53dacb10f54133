"""Texts of queries: computed by who asks, together with what others are about to ask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.embedding.cache import Vector, VectorCache
from app.embedding.query_texts import QueryTexts
from model.errors import NoKnownWordsError


class Encoder:
    """Makes vectors of the lengths of texts, remembers its batches and threads, knows no "unknown"; can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[int] = []
        self.started = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, texts: list[str]) -> Sequence[Vector]:
        self.batches.append(texts)
        self.threads.append(threading.get_ident())
        self.started.set()
        assert self.gate.wait(10)
        if "unknown" in texts:
            raise NoKnownWordsError("unknown", ["unknown"])
        return [np.full(3, len(text), dtype=np.float32) for text in texts]


@pytest.fixture
def encoder() -> Encoder:
    """An encoder that has computed nothing."""
    return Encoder()


@pytest.fixture
def texts(encoder: Encoder) -> QueryTexts:
    """Batches of three at most."""
    return QueryTexts(encoder, VectorCache(), max_batch=3)


def test_a_text_is_computed_once_by_the_thread_that_asks(texts: QueryTexts, encoder: Encoder) -> None:
    assert texts.get("dog")[0] == 3
    assert texts.get("dog")[0] == 3
    assert encoder.batches == [["dog"]]
    assert encoder.threads == [threading.get_ident()]


def test_announced_texts_share_a_batch_up_to_the_limit(texts: QueryTexts, encoder: Encoder) -> None:
    told: list[tuple[str, int]] = []
    texts.observer = lambda kind, size, seconds: told.append((kind, size))
    for text in ("a", "bb", "ccc", "dddd"):
        texts.announce(text)
    assert [int(texts.get(text)[0]) for text in ("a", "bb", "ccc", "dddd")] == [1, 2, 3, 4]
    texts.announce("a")  # which is known
    assert texts.get("eeeee")[0] == 5
    assert encoder.batches == [["a", "bb", "ccc"], ["dddd"], ["eeeee"]]
    assert told == [("texts", 3), ("texts", 1), ("texts", 1)]


def test_who_waits_for_another_ones_batch_finds_its_vector_there(texts: QueryTexts, encoder: Encoder) -> None:
    encoder.gate.clear()
    with ThreadPoolExecutor(2) as callers:
        texts.announce("cat")
        first = callers.submit(texts.get, "dog runs")
        assert encoder.started.wait(10)
        second = callers.submit(texts.get, "cat")
        encoder.gate.set()
        assert (first.result(10)[0], second.result(10)[0]) == (8, 3)
    assert encoder.batches == [["dog runs", "cat"]]


def test_a_text_whose_client_has_left_is_not_computed(texts: QueryTexts, encoder: Encoder) -> None:
    gone = threading.Event()
    for text in ("a", "bb"):
        texts.announce(text, gone.is_set)
    texts.announce("ccc")
    texts.announce("bb")  # somebody else wants it, too
    gone.set()
    assert texts.get("dddd")[0] == 4
    assert encoder.batches == [["dddd", "bb", "ccc"]]


def test_a_text_of_no_known_word_fails_alone(texts: QueryTexts, encoder: Encoder) -> None:
    texts.announce("unknown")
    assert texts.get("dog")[0] == 3, "although the batch failed"
    for _ in range(2):
        with pytest.raises(NoKnownWordsError):
            texts.get("unknown")
    assert encoder.batches == [["dog", "unknown"], ["dog"], ["unknown"], ["unknown"]]
