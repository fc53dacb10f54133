"""The text tower of kind `words`: sentence encoders over the vectors of a vocabulary's words.

The paper's pair: a linear encoder, the *bag*, whose words can be added and subtracted, and an LSTM, for which their
order counts; by default a sentence is the normalised mean of the two. A sentence may lean to the kind of thing that it
names (`model.encoders.KindNames`); operands of arithmetic never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from model.bundle import CONFIG_FILE, Bundle
from model.encoders import EPSILON, KindNames, SentenceEncoders, keep_half_precision
from model.errors import BundleError
from model.towers.config import VOCABULARY, TextConfig
from model.towers.interfaces import Capability, Concepts, Role, Vectors
from model.towers.weights import load_weights
from model.words import TOKENISER, Vocabulary, plural

BATCH = 512


class WordTower:
    """Texts by the words of a vocabulary; a word that it lacks is left out."""

    capabilities: frozenset[Capability] = frozenset({"unknown_words", "concepts", "composition"})

    def __init__(
        self,
        config: TextConfig,
        dimension: int,
        vocabulary: Vocabulary,
        encoders: SentenceEncoders,
        names: KindNames | None,
    ) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self._dimension = dimension
        self._encoders = encoders
        self._names = names

    @classmethod
    def load(cls, bundle: Bundle, device: str) -> WordTower:
        """Load it from a bundle. Errors: `BundleError`."""
        config, dimension = bundle.config.text, bundle.config.dimension
        vocabulary = _vocabulary(bundle)
        encoders = SentenceEncoders(config, dimension)
        load_weights(encoders, bundle, "text.")
        encoders.to(device).words.fold_codes()
        if device == "cpu":
            keep_half_precision(encoders)
        names = None
        if config.names is not None:
            names = KindNames(config.names, dimension, config.grounded_words)
            load_weights(names, bundle, "names.")
            names.to(device)
            _learn_names(names, vocabulary, encoders)
        return cls(config, dimension, vocabulary, encoders, names)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Those that were trained, and `mean`, where there are two."""
        return self.config.choices

    @property
    def encoder(self) -> str:
        """The bundle's choice for sentences."""
        return self.config.sentence_encoder

    @property
    def quick_encoder(self) -> str:
        """The linear encoder, where it is trained: it is many times faster than the LSTM."""
        return "bag" if "bag" in self.config.encoders else self.encoder

    def embed(self, texts: Sequence[str], role: Role = "sentence", encoder: str | None = None) -> Vectors:
        """Texts to float32 (n, D), unit rows; (0, D) for none.

        Operands are for the linear encoder alone, where words add up; a tower that was not trained for it (preset
        `paper`) uses what it has. Errors: `EmptyTextError`, `NoKnownWordsError`, for the first such text.
        """
        if role == "operand" and "bag" in self.config.encoders:
            return self._embed(texts, "bag", None)
        return self._embed(texts, encoder or self.encoder, self._names)

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str], encoder: str, names: KindNames | None) -> Vectors:
        sentences = [self.vocabulary.numbers(text) for text in texts]
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            batch = sentences[start : start + BATCH]
            embedded, bags = self._encoders.embed(batch, [encoder, "bag"])
            if names is not None:
                embedded = names(embedded, bags, batch)
            vectors[start : start + len(batch)] = embedded.cpu().numpy()
        return vectors

    def tokens(self, text: str) -> tuple[int, ...]:
        """The numbers of a text's known words. Errors: `EmptyTextError`, `NoKnownWordsError`."""
        return tuple(self.vocabulary.numbers(text))

    @property
    def known_words(self) -> int | None:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the vocabulary lacks, in order, without repeats."""
        return self.vocabulary.resolve(text)[1]

    def concepts(self) -> Concepts:
        """The words of the training captions."""
        return self._concepts

    @cached_property
    def _concepts(self) -> Concepts:
        grounded = self._word_vectors(range(self.config.grounded_words))
        lengths = np.linalg.norm(grounded, axis=1, keepdims=True)
        return Concepts(self.vocabulary.words[: len(grounded)], grounded / np.maximum(lengths, EPSILON))

    def summands(self, texts: Sequence[str]) -> Vectors:
        """The sum of the vectors of each text's known words, as the linear encoder adds them up: (n, D)."""
        sums = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            if numbers := self.vocabulary.resolve(text)[0]:
                sums[row] = self._word_vectors(numbers).sum(axis=0)
        return sums

    @torch.inference_mode()
    def _word_vectors(self, numbers: Sequence[int]) -> Vectors:
        words = self._encoders.words
        vectors: Vectors = words(torch.tensor(numbers, device=words.own.weight.device)).cpu().numpy()
        return vectors


def _vocabulary(bundle: Bundle) -> Vocabulary:
    config = bundle.config.text
    if config.tokeniser != TOKENISER:
        raise BundleError(
            "bundle_unsupported",
            f"{bundle.path / CONFIG_FILE} wants the tokeniser {config.tokeniser!r}; this Visem has {TOKENISER!r}.",
        )
    vocabulary = Vocabulary.read(bundle.path / VOCABULARY)
    if len(vocabulary) != config.words:
        raise BundleError(
            "bundle_corrupted",
            f"{bundle.path / VOCABULARY} holds {len(vocabulary)} words where {CONFIG_FILE} says {config.words}.",
        )
    return vocabulary


@torch.inference_mode()
def _learn_names(names: KindNames, vocabulary: Vocabulary, encoders: SentenceEncoders) -> None:
    """Tell it the words of all names, and of their plurals, that the vocabulary knows whole.

    A synonym of one word that the captions taught is left out: they know better (*board* is no dining table).
    """
    known = []
    for kind, listed in enumerate(names.config.names):
        for place, name in enumerate(listed):
            for spelled in (name, plural(name)):
                numbers, unknown = vocabulary.resolve(spelled)
                taught = place > 0 and len(numbers) == 1 and numbers[0] < encoders.words.grounded
                if numbers and not unknown and not taught:
                    known.append((kind, numbers))
    if known:
        (bags,) = encoders.embed([numbers for _, numbers in known], ["bag"])
        names.learn_names(known, bags)
