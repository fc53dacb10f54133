"""The seam between the joint space and its towers: one of another kind, without words of its own, serves as well."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from model.errors import EmptyTextError
from model.space import JointSpace
from model.towers.interfaces import Capability, Concepts, Prepared, Role, Vectors


class PlainTower:
    """A text tower that reads bytes, knows every word and can do nothing else."""

    capabilities: frozenset[Capability] = frozenset()
    encoders: tuple[str, ...] = ("bytes",)
    encoder = quick_encoder = "bytes"
    known_words = None

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def embed(self, texts: Sequence[str], role: Role = "sentence", encoder: str | None = None) -> Vectors:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            (seed,) = self.tokens(text)
            vectors[row] = np.random.default_rng(seed).standard_normal(self.dimension)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def tokens(self, text: str) -> tuple[int, ...]:
        if not text:
            raise EmptyTextError
        return (crc32(text.encode()),)

    def unknown_words(self, text: str) -> list[str]:
        return []

    def concepts(self) -> Concepts:
        return Concepts((), np.zeros((0, self.dimension), dtype=np.float32))

    def summands(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError


class MeanTower:
    """An image tower with a preprocessing of its own: the mean colour of each row of pixels."""

    size = 16

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def prepare(self, image: Image.Image) -> Prepared:
        return [np.asarray(image.resize((self.size, self.size))).transpose(2, 0, 1)]

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        small = np.stack([seen for (seen,) in prepared]).transpose(0, 2, 3, 1).astype(np.float32)
        vectors = np.zeros((len(small), self.dimension), dtype=np.float32)
        vectors[:, : 3 * self.size] = small.mean(axis=2).reshape(len(small), -1) + 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


@pytest.fixture(scope="module")
def space(shipped_space: JointSpace) -> JointSpace:
    return shipped_space


@pytest.fixture
def plain(space: JointSpace) -> JointSpace:
    return JointSpace(space.bundle, MeanTower(space.dimension), PlainTower(space.dimension), space.runtime)


def test_what_a_tower_cannot_do_has_an_answer(plain: JointSpace) -> None:
    vectors = plain.embed_texts(["zyzzyva", "anything at all"])
    assert vectors.shape == (2, plain.dimension)
    assert plain.unknown_words("zyzzyva") == []
    assert plain.knows("zyzzyva")
    assert not plain.knows("")
    assert plain.nearest_words(vectors, 3) == [[], []]


def test_arithmetic_without_words_that_add_up_is_a_plain_sum(plain: JointSpace, space: JointSpace) -> None:
    assert space.composer.heads, "the bundle's own tower completes phrases"
    assert plain.composer.heads == []
    (image,) = plain.embed_images([Image.new("RGB", (40, 30), "red")])
    composed = plain.compose([(image, 1.0, "image"), ("black", -1.0, "text"), ("brown", 1.0, "text")])
    black, brown = plain.embed_operands(["black", "brown"])
    expected = plain.config.composition.image_weight * image - black + brown
    np.testing.assert_allclose(composed, expected / np.linalg.norm(expected), atol=1e-5)


def test_equal_tokens_are_one_operand(plain: JointSpace) -> None:
    twice = plain.composition([("snow", 1.0, "text"), ("snow", 2.0, "text"), ("dog", 1.0, "text")])
    assert twice.merged == ((0, 3.0), (2, 1.0))
