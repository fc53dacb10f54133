"""The text tower of kind `words`: sentence encoders over the vectors of a vocabulary's words.

    word      w_i = A c_i + d_i         c_i: the word's code, its vector in a pre-trained text space, as int8;
                                        d_i: a vector of its own, for the words of the training captions
    bag       v = normalise(sum_i w_i)  the paper's linear encoder: words can be added and subtracted
    LSTM      v = normalise(W_o h_T)    h_T: last state of an LSTM over W_in w_i: their order counts
    mean      v = normalise(bag + LSTM)

A sentence may lean to the kind of thing that it names (`model.towers.names`); operands of arithmetic never do.

Source: Kiros et al. 2014 (arXiv 1411.2539) and the authors' releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from model.bundle import CONFIG_FILE, Bundle
from model.errors import BundleError
from model.runtime.interfaces import Array, Runtime
from model.runtime.tensors import MappedTensors
from model.towers.config import ENCODERS, VOCABULARY
from model.towers.interfaces import Capability, Concepts, Role
from model.towers.names import KindNames
from model.towers.vectors import Vectors, normalise
from model.words import TOKENISER, Vocabulary

BATCH = 64
"""Sentences that go through the LSTM at once, of about the same length."""
FEW, REMEMBERED = 64, 2048
"""Words that are remembered: of texts with at most so many, and so many in all (4 KB each)."""


class WordTower:
    """Texts by the words of a vocabulary; a word that it lacks is left out."""

    capabilities: frozenset[Capability] = frozenset({"unknown_words", "concepts", "composition"})

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Load it from a verified bundle. Errors: `BundleError`."""
        self.config = config = bundle.config.words
        self.vocabulary = _read_vocabulary(bundle)
        self._dimension = dimension = bundle.config.dimension
        tensors = MappedTensors(bundle.file(ENCODERS))
        self._own = tensors.require("text.words.own.weight", (config.grounded_words, dimension))
        self._codes: Array | None = None
        if config.code_dimension is not None:
            self._codes = tensors.require("text.words.codes", (config.words, config.code_dimension))
            tensors.require("text.words.map.weight", (dimension, config.code_dimension))
            self._map = runtime.load(bundle, "words")
        if config.lstm_dimension is not None:
            inputs, hidden = config.lstm_input_dimension or dimension, config.lstm_dimension
            tensors.require("text.lstm.input.weight", (inputs, dimension))
            tensors.require("text.lstm.lstm.weight_hh_l0", (4 * hidden, hidden))
            self._lstm = runtime.load(bundle, "lstm")
        self._remembered: dict[int, Vectors] = {}
        self._names: KindNames | None = None
        if config.names is not None:
            looks = tensors.require("names.looks.weight", (dimension, len(config.names.names)))
            self._names = KindNames(config.names, self.vocabulary, config.grounded_words, looks, self._bags)

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
        `paper`) uses what it has. Errors: `EmptyTextError`, `NoKnownWordsError`, for the first such text; ValueError
        for an encoder that there is not.
        """
        as_operands = role == "operand" and "bag" in self.config.encoders
        chosen = "bag" if as_operands else encoder or self.encoder
        if chosen not in self.encoders:
            raise ValueError(f"this text tower has no encoder {chosen!r}; it has {', '.join(self.encoders)}")
        sentences = [self.vocabulary.numbers(text) for text in texts]
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        # Those of a length together: padding costs as much as words do.
        order = sorted(range(len(texts)), key=lambda place: len(sentences[place]))
        for start in range(0, len(texts), BATCH):
            places = order[start : start + BATCH]
            batch = [sentences[place] for place in places]
            embedded, bags = self._encode(batch, chosen)
            if self._names is not None and not as_operands:
                embedded = self._names.lean(embedded, bags, batch)
            vectors[places] = embedded
        return vectors

    def _encode(self, sentences: Sequence[Sequence[int]], encoder: str) -> tuple[Vectors, Vectors]:
        """Unit vectors (n, D) of sentences as word numbers, none of them empty, and of their bags of words."""
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int32)
        flat = [number for sentence in sentences for number in sentence]
        different = {number: place for place, number in enumerate(dict.fromkeys(flat))}
        places = np.array([different[number] for number in flat])
        words = self._word_vectors(list(different))  # (u, D)
        starts = np.cumsum(lengths) - lengths
        bags: Vectors = normalise(np.add.reduceat(np.take(words, places, axis=0), starts, axis=0))
        if encoder == "bag":
            return bags, bags
        padded = np.zeros((len(sentences), int(lengths.max())), dtype=np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = places
        (raw,) = self._lstm(words, padded, lengths)
        ordered = normalise(raw)
        return (normalise(bags + ordered) if encoder == "mean" else ordered), bags

    def _bags(self, sentences: Sequence[Sequence[int]]) -> Vectors:
        return self._encode(sentences, "bag")[1]

    def _word_vectors(self, numbers: Sequence[int]) -> Vectors:
        """Word numbers (n,) to vectors (n, D), as they are summed. Those of a few words are remembered."""
        if len(numbers) > FEW:
            return self._compute_word_vectors(np.array(numbers))
        remembered = self._remembered
        if missing := [number for number in numbers if number not in remembered]:
            if len(remembered) + len(missing) > REMEMBERED:
                remembered = {}
            # Others may be reading the old one: it stays as it is.
            made = self._compute_word_vectors(np.array(numbers))
            self._remembered = remembered = remembered | dict(zip(numbers, made, strict=True))
        return np.array([remembered[number] for number in numbers])  # `stack` takes half as long again

    def _compute_word_vectors(self, numbers: Array) -> Vectors:
        own = np.zeros((len(numbers), self._dimension), dtype=np.float32)
        grounded = numbers < len(self._own)
        own[grounded] = self._own[numbers[grounded]]
        return own if self._codes is None else self._map(own, self._codes[numbers])[0]

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
        count = self.config.grounded_words
        return Concepts(self.vocabulary.words[:count], normalise(self._compute_word_vectors(np.arange(count))))

    def summands(self, texts: Sequence[str]) -> Vectors:
        """The sum of the vectors of each text's known words, as the linear encoder adds them up: (n, D)."""
        sums = np.zeros((len(texts), self._dimension), dtype=np.float32)
        known = [self.vocabulary.resolve(text)[0] for text in texts]
        different = sorted({number for numbers in known for number in numbers})
        if not different:
            return sums
        vectors = dict(zip(different, self._word_vectors(different), strict=True))
        for row, numbers in enumerate(known):
            sums[row] = sum((vectors[number] for number in numbers), sums[row])
        return sums


def _read_vocabulary(bundle: Bundle) -> Vocabulary:
    config = bundle.config.words
    if config.tokeniser != TOKENISER:
        raise BundleError(
            "bundle_unsupported",
            f"{bundle.path / CONFIG_FILE} wants the tokeniser {config.tokeniser!r}; this Visem has {TOKENISER!r}.",
        )
    try:
        vocabulary = Vocabulary.read(bundle.file(VOCABULARY))
    except ValueError as error:  # no UTF-8, or a word twice
        raise BundleError("bundle_corrupted", f"{bundle.path / VOCABULARY} cannot be read: {error}.") from error
    if len(vocabulary) != config.words:
        raise BundleError(
            "bundle_corrupted",
            f"{bundle.path / VOCABULARY} holds {len(vocabulary)} words where {CONFIG_FILE} says {config.words}.",
        )
    return vocabulary
