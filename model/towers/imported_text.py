"""The text tower of kind `imported`: a text encoder that another library trained, such as CLIP's.

It reads any text, so no word is unknown. Operands of arithmetic are texts in a prompt of their own, and their vectors
are added as they are: what a sum of words means is not trained into such an encoder, but its space is close to linear.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.bundle import Bundle
from model.errors import BundleError
from model.runtime.interfaces import Runtime
from model.runtime.tensors import MappedTensors
from model.towers.imported_config import (
    CONCEPT_VECTORS,
    CONCEPT_WORDS,
    PLACE,
    TEXT_ENCODER,
    TOKENIZER,
    ImportedTextConfig,
)
from model.towers.interfaces import Capability, Concepts, Role
from model.towers.tokens import TextTokenizer
from model.towers.vectors import Vectors, normalise

BATCH = 32
"""Texts that go through the encoder at once, of about the same length."""


class ImportedTextTower:
    """Texts by an encoder of another library."""

    encoders: tuple[str, ...] = (TEXT_ENCODER,)
    encoder = quick_encoder = TEXT_ENCODER
    known_words = None

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Load it from a verified bundle. Errors: `BundleError`."""
        if not isinstance(bundle.config.text, ImportedTextConfig):
            raise BundleError("bundle_corrupted", f"{bundle.path} has no imported text tower.")
        self.config = config = bundle.config.text
        self._dimension = bundle.config.dimension
        self._tokenizer = TextTokenizer(
            bundle.file(TOKENIZER), config.cleaning, config.context_length, config.padding, padded=config.padded
        )
        self._network = runtime.load(bundle, "text_encoder")
        self._concepts = Concepts([], np.zeros((0, self._dimension), dtype=np.float32))
        if config.concepts:
            words = bundle.file(CONCEPT_WORDS).read_text(encoding="utf-8").splitlines()
            tensors = MappedTensors(bundle.file(CONCEPT_VECTORS))
            vectors = tensors.require("vectors", (len(words), self._dimension))
            self._concepts = Concepts(words, normalise(vectors.astype(np.float32)))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Sums of its operands, and words for naming where the bundle has some."""
        return frozenset({"composition", "concepts"} if self.config.concepts else {"composition"})

    def embed(self, texts: Sequence[str], role: Role = "sentence", encoder: str | None = None) -> Vectors:
        """Texts to float32 (n, D), unit rows; (0, D) for none. A text beyond the context length is cut off.

        Errors: `EmptyTextError`, for the first such text; ValueError for an encoder that there is not.
        """
        if encoder not in (None, self.encoder):
            raise ValueError(f"this text tower has no encoder {encoder!r}; it has {self.encoder}")
        prompts = self.config.prompts.sentence if role == "sentence" else self.config.prompts.operand
        for text in texts:
            self._tokenizer.tokens(text)  # a prompt around nothing would not be empty
        total = self.encode([prompts[0].replace(PLACE, text) for text in texts])
        for prompt in prompts[1:]:
            total = total + self.encode([prompt.replace(PLACE, text) for text in texts])
        return total if len(prompts) == 1 else normalise(total)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts as they stand, without a prompt, to float32 (n, D), unit rows. Errors: `EmptyTextError`."""
        tokens = [self._tokenizer.tokens(text) for text in texts]
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        for start in range(0, len(texts), BATCH):
            places = order[start : start + BATCH]
            (raw,) = self._network(self._tokenizer.batch([tokens[place] for place in places]))
            vectors[places] = normalise(raw)
        return vectors

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, without a prompt. Errors: `EmptyTextError`."""
        return tuple(self._tokenizer.tokens(text))

    def unknown_words(self, text: str) -> list[str]:
        """None: words that it never saw are read by their parts."""
        return []

    def concepts(self) -> Concepts:
        """The words of the bundle's list."""
        return self._concepts

    def summands(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, D) of operands: they add up well enough, though nothing makes them."""
        return self.embed(texts, "operand")
