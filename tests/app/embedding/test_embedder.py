"""Vectors for many callers at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.embedding.batcher import Place
from app.embedding.embedder import Embedder
from app.embedding.fairness import ShuttingDown
from app.results import CaptionOptions
from app.settings import Settings
from model.captioner.scnlm import LanguageModel
from model.errors import ImageError, NoKnownWordsError
from model.space import JointSpace
from tests.app.helpers import picture


@pytest.fixture
def embedder(space: JointSpace) -> Iterator[Embedder]:
    """An embedder which makes small batches."""
    embedder = Embedder(space, Settings(batch_size=2))
    yield embedder
    embedder.close()


@pytest.fixture
def place(embedder: Embedder) -> Iterator[Place]:
    """A place to embed from."""
    with embedder.admit("bulk") as place:
        yield place


def test_the_same_query_has_exactly_the_same_vector_whatever_else_is_embedded(embedder: Embedder, place: Place) -> None:
    alone = embedder.sentence("a dog runs on the beach")
    image = embedder.image(picture(1), place)
    texts = ["a cat"] * 7 + ["a dog runs on the beach"]

    def embed() -> None:
        with embedder.admit("bulk") as own:
            embedder.texts(texts, own)

    threads = [threading.Thread(target=embed) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert embedder.sentence("a dog runs on the beach").tobytes() == alone.tobytes()
    assert embedder.image(picture(1), place).tobytes() == image.tobytes()
    for thread in threads:
        thread.join(60)


def test_many_together_are_as_each_alone(embedder: Embedder, place: Place, space: JointSpace) -> None:
    texts = ["a dog runs", "a black cat on a car", "red", "a man on the beach"]
    together = [embedding.vector for embedding in embedder.texts(texts, place)]
    for text, vector in zip(texts, together, strict=True):
        assert vector is not None
        np.testing.assert_allclose(vector, space.embed_texts([text])[0], atol=1e-5)


def test_each_image_is_reported_on(embedder: Embedder, place: Place) -> None:
    refused = ImageError("image_too_large", "Too large.")
    files = [picture(1), b"", picture(2), picture(3), b"junk", refused]
    codes = [embedding.code for embedding in embedder.images(files, place)]
    assert codes == [None, "image_empty", None, None, "image_unreadable", "image_too_large"]


def test_errors_reach_whoever_asked(embedder: Embedder, place: Place) -> None:
    with pytest.raises(ImageError):
        embedder.image(b"junk", place)
    with pytest.raises(NoKnownWordsError):
        embedder.sentence("xqztw")
    known, unknown = embedder.texts(["a dog", "xqztw"], place)
    assert known.vector is not None
    assert (unknown.vector, unknown.code, unknown.unknown_words) == (None, "no_known_words", ("xqztw",))


def test_a_check_embeds_for_real(embedder: Embedder) -> None:
    batches: list[str] = []
    embedder.observe(lambda kind, size, seconds: batches.append(kind))
    for _ in range(2):
        assert np.linalg.norm(embedder.check()) == pytest.approx(1, abs=1e-5)
    assert batches == ["texts", "texts"]
    embedder.close()
    with pytest.raises(ShuttingDown):
        embedder.check()


def test_captions_that_are_being_written_end_when_it_stops(
    embedder: Embedder, place: Place, space: JointSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take seconds for a batch; the next word is not written."""
    step, steps, stopped = LanguageModel.step, [], threading.Event()

    def slow(self: LanguageModel, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 2:
            embedder.stop()
            stopped.set()
        return step(self, *arguments)

    monkeypatch.setattr(LanguageModel, "step", slow)
    with pytest.raises(ShuttingDown):
        embedder.captions(space.embed_texts(["a dog"])[0], CaptionOptions(3), place)
    assert stopped.is_set()
    assert len(steps) == 2
