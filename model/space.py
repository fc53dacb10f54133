"""JointSpace: a bundle, loaded and ready. What everyone else calls.

space = JointSpace.load()                    # the shipped bundle
space.embed_images([image, ...])             # float32 (n, D), unit rows
space.embed_texts(["a dog runs", ...])       # float32 (n, D), unit rows
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model import threads
from model.bundle import COMPOSITION, Bundle, BundleConfig, CompositionConfig
from model.compose.arithmetic import Composer, Composition, LearnedComposition, Operand
from model.concepts import CONCEPTS, ConceptDetector
from model.errors import TextError
from model.runtime.factory import open_runtime
from model.runtime.interfaces import Runtime
from model.towers.factory import build_towers
from model.towers.interfaces import ImageTower, TextTower, Vectors

if TYPE_CHECKING:
    from PIL import Image

BATCH = 16
"""Images that go through the networks at once: more brings no speed on a CPU, and costs memory."""


class JointSpace:
    """Images and sentences in one vector space of dimension D; thread-safe."""

    def __init__(self, bundle: Bundle, image: ImageTower, text: TextTower, runtime: Runtime) -> None:
        self.bundle = bundle
        self.image = image
        self.text = text
        self.runtime = runtime

    @classmethod
    def load(cls, bundle: Path | None = None, device: str = "auto") -> JointSpace:
        """Load a bundle (None: the shipped one) without touching the network.

        `device`: `cpu`, `cuda`, or `auto` for a GPU where torch finds one. Errors: `BundleError`,
        `DeviceMissingError`.
        """
        return build_space(Bundle.load(bundle), device)

    @cached_property
    def concepts(self) -> ConceptDetector | None:
        """Names what images show; None where the bundle has no detector. Loaded for the first image."""
        config = self.config.concepts
        return None if config is None else ConceptDetector.load(config, self.bundle.file(CONCEPTS))

    @cached_property
    def learned_composition(self) -> LearnedComposition:
        """What the rule of arithmetic learned. Loaded for the first sum. Errors: `BundleError`."""
        heads = len(self.config.composition.heads)
        if COMPOSITION in self.config.files:
            return LearnedComposition.load(self.bundle.file(COMPOSITION), heads, self.dimension)
        return LearnedComposition.none(heads, self.dimension)

    @cached_property
    def composer(self) -> Composer:
        """The rule of arithmetic of the bundle."""
        return self.composer_with(self.config.composition, self.learned_composition)

    @property
    def config(self) -> BundleConfig:
        """The bundle's configuration."""
        return self.bundle.config

    @property
    def device(self) -> str:
        """Where its networks run: `cpu` or `cuda`."""
        return self.runtime.device

    @property
    def id(self) -> str:
        """Digest of all that determines a vector; a library remembers it."""
        return self.config.space_id

    @property
    def name(self) -> str:
        """The bundle's name, for people."""
        return self.config.name

    @property
    def dimension(self) -> int:
        """D."""
        return self.config.dimension

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Upright RGB images to float32 (n, D), unit rows; (0, D) for none."""
        parts = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        prepared = threads.ahead(lambda part: [*map(self.image.prepare, part)], parts)
        return np.concatenate([np.empty((0, self.dimension), dtype=np.float32), *map(self.image.encode, prepared)])

    def embed_texts(self, texts: Sequence[str], encoder: str | None = None) -> Vectors:
        """Sentences to float32 (n, D), unit rows; (0, D) for none.

        `encoder`: one of those of the text tower; None is its choice. Unknown words are left out (`unknown_words` tells
        them). Errors: `EmptyTextError`, `NoKnownWordsError`, for the first such sentence.
        """
        return self.text.embed(texts, "sentence", encoder)

    def embed_operands(self, texts: Sequence[str]) -> Vectors:
        """Operands of arithmetic to float32 (n, D), unit rows. Errors as `embed_texts`."""
        return self.text.embed(texts, "operand")

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the text tower does not know, in order, without repeats."""
        return self.text.unknown_words(text)

    def knows(self, text: str) -> bool:
        """Whether the text tower knows something of a text, and can embed it."""
        try:
            return bool(self.text.tokens(text))
        except TextError:
            return False

    def nearest_words(self, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """For each row of (n, D), the k words that lie nearest, with their cosines, best first.

        The words are those that the text tower names things by; there may be fewer than k, or none.
        """
        concepts = self.text.concepts()
        k = min(k, len(concepts.words))
        scores = vectors @ concepts.vectors.T  # (n, words)
        some = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k else np.empty((len(scores), 0), dtype=np.int64)
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(some, order, axis=1)
        return [
            [(concepts.words[place], score) for place, score in zip(places, found, strict=True)]
            for places, found in zip(
                nearest.tolist(), np.take_along_axis(scores, nearest, axis=1).tolist(), strict=True
            )
        ]

    def name_concepts(self, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """For each row of (n, D), up to k words for what it shows, with their probabilities, best first.

        Without a detector of concepts: the nearest words, with their cosines.
        """
        return self.nearest_words(vectors, k) if self.concepts is None else self.concepts.name(vectors, k)

    def compose(self, operands: Sequence[Operand]) -> Vectors:
        """The unit vector (D,) of a weighted sum of images and texts, by the rule of `model.compose.arithmetic`.

        Each operand is (vector (D,) or text, weight, kind); the order of operands does not matter. Errors:
        `DegenerateQueryError` where the sum is near zero, `NoKnownWordsError`, `EmptyTextError`.
        """
        return self.composition(operands).vector

    def composition(self, operands: Sequence[Operand]) -> Composition:
        """As `compose`, with what each operand contributes to the sum."""
        return self.composer(operands)

    def with_config(self, config: BundleConfig, learned: LearnedComposition | None = None) -> JointSpace:
        """The same towers under another rule of arithmetic or calibration: one not written yet, say.

        `learned` goes with its rule of arithmetic; by default it is what the bundle has.
        """
        other = copy(self)
        other.bundle = replace(self.bundle, config=config)
        other.learned_composition = self.learned_composition if learned is None else learned
        other.composer = other.composer_with(config.composition, other.learned_composition)
        return other

    def composer_with(self, config: CompositionConfig, learned: LearnedComposition) -> Composer:
        """The rule of arithmetic with other numbers, on this space."""
        return Composer(config, learned, self.text)


def build_space(bundle: Bundle, device: str) -> JointSpace:
    """The space of a verified bundle, with the towers of the kinds that it names. Errors as `JointSpace.load`."""
    return space_on(bundle, open_runtime(device))


def space_on(bundle: Bundle, runtime: Runtime) -> JointSpace:
    """The space of a verified bundle on a runtime. Errors: `BundleError`."""
    image, text = build_towers(bundle, runtime)
    return JointSpace(bundle, image, text, runtime)
