"""What a tower is to the rest of Visem. A bundle holds one for images and one for texts, into the same space.

    image tower    upright RGB images in, unit vectors out; its preprocessing is its own affair
    text tower     texts in, unit vectors out, in two roles: a `sentence`, where word order may count, and an `operand`
                   of arithmetic, where words can be added and subtracted

A text tower states its capabilities. What it cannot do has an answer that holds for it: a tower without
`unknown_words` knows every word, one without `concepts` names none, and by one without `composition` sums of images
and texts are plain sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Vectors = npt.NDArray[np.float32]
Planes = npt.NDArray[np.uint8]
Prepared = list[Planes]
"""An image at the size that the networks look at: uint8 (3 k, H, W) for each of their passes."""
Role = Literal["sentence", "operand"]
Capability = Literal["unknown_words", "concepts", "composition"]
"""Tells words that it does not know; has words of its own to name what a vector shows; has summands, which the learned
rule of arithmetic is built on."""


@dataclass(frozen=True)
class Concepts:
    """Words that can name what a vector shows: n of them, with unit vectors (n, D)."""

    words: Sequence[str]
    vectors: Vectors


class ImageTower(Protocol):
    """Turns images into vectors. Thread-safe."""

    @property
    def size(self) -> int:
        """About how many pixels a side it looks at: a decoder need not give many more."""

    def prepare(self, image: Image.Image) -> Prepared:
        """What the networks see of an upright RGB image of any size. It is much smaller than the image can be."""

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """What `prepare` made of n images, n > 0, to float32 (n, D), unit rows."""


class TextTower(Protocol):
    """Turns texts into vectors. Thread-safe."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond embedding."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Every way in which it can embed a sentence, by name; one for most towers."""

    @property
    def encoder(self) -> str:
        """The one that embeds sentences unless another is asked for."""

    @property
    def quick_encoder(self) -> str:
        """The one for many sentences at once that are only compared with each other."""

    def embed(self, texts: Sequence[str], role: Role = "sentence", encoder: str | None = None) -> Vectors:
        """Texts to float32 (n, D), unit rows; (0, D) for none. `encoder` is for sentences alone.

        What it does not know of a text is left out. Errors: `EmptyTextError`, `NoKnownWordsError`, for the first such
        text; ValueError for an encoder that it does not have.
        """

    def tokens(self, text: str) -> tuple[int, ...]:
        """What it reads of a text, never empty: texts of the same tokens have the same vector.

        Errors: `EmptyTextError`, `NoKnownWordsError`.
        """

    @property
    def known_words(self) -> int | None:
        """How many words it knows; None: any."""

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that it does not know, in order, without repeats."""

    def concepts(self) -> Concepts:
        """Its words for naming; empty without the capability."""

    def summands(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, D) that add up: the vector of words together is the direction of the sum of theirs.

        What is unknown of a text adds nothing. Errors: NotImplementedError without the capability `composition`.
        """
