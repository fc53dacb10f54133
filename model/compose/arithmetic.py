"""The rule of arithmetic with images and words: *this photograph - black + brown*.

Plainly, operands are unit vectors that are weighted and summed. That is the rule for sums of words, of images, and of
both, as long as nothing is exchanged. It does badly where one word takes the place of another, because a vector of
*brown* alone says nothing about what is to be brown: a brown fence is as good as a brown dog. So, where an image is at
hand, and words are both taken from it and put into it, a word that is put in is first completed to a phrase, by what
the word that is taken out says about the image:

    fit(h)    = x . bag(A + h) / temperature + taken * log n(A, h) + seen(h, x) + put * log n(B, h)   for each head h
    phrases   = the `phrases` heads with the largest fit, weighed by its softmax: "B h"
    v(B h)    = normalise(s + looks * L s), s = sentence("B h")
    q         = image * x + sum_B weight_B * normalise(sum_h p(h) v(B h)) - removal * sum_A weight_A * a

x is the image, A what is subtracted, B what is added. Heads h are words that follow attributes in captions (*dog*,
*shirt*), and the empty one: n counts how often a word stands right before a head in the training captions; n(A, none)
is how often attributes stand before A itself. So *cat* and *snow* stay the operands that they are, and *brown* becomes
*brown dog* on a photograph of a black dog. Things are exchanged with weights of the image and of the removal that are
their own: a whole phrase says nearly all that is asked for, a thing leaves the rest of the picture to the image.

Two parts are learned from the training photographs (`LearnedComposition`). `seen` is a softmax regression: which head
an attribute stands before in the captions of a photograph like x. It only divides among heads what the counts give
them together: whether there is a head at all is not for the image to say. L is a linear map from the sentence vector
of a phrase to the direction that tells photographs of it from others (linear discriminant analysis).

The result does not depend on the order of the operands, and every operand's part in the sum is its own, so a score can
be explained. docs/arithmetic.md has what lost to this rule, in figures.

Source of the plain sum: Kiros et al. 2014 (arXiv 1411.2539), multimodal linguistic regularities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.bundle import CompositionConfig
from model.errors import BundleError, DegenerateQueryError
from model.runtime.tensors import MappedTensors, singles
from model.towers.interfaces import TextTower, Vectors
from model.words import tokenise

Floats = npt.NDArray[np.float64]
Kind = Literal["image", "text"]
Operand = tuple["Vectors | str", float, Kind]

DEGENERATE_NORM = 0.05
"""A sum of unit vectors shorter than this has no direction worth searching by."""
SMOOTHING = 0.5
"""Added to every count, so that what was never seen stays possible."""
EPSILON = 1e-6
_REMEMBERED = 512  # texts and words, each in four memories: some 30 kB together


@dataclass(frozen=True)
class LearnedComposition:
    """What the rule learned from the training photographs: arrays, for H heads in a space of D dimensions."""

    heads: Vectors
    """(H, D): the softmax regression's weights, in the order of `CompositionConfig.heads`."""
    bias: Vectors
    """(H,)"""
    looks: Vectors
    """(D, D): a row vector of a phrase times this is what photographs of it look like."""

    @classmethod
    def none(cls, heads: int, dimension: int) -> LearnedComposition:
        """Nothing learned: no head is likelier than the counts say, and a phrase is its sentence vector."""
        return cls(
            np.zeros((heads, dimension), np.float32),
            np.zeros(heads, np.float32),
            np.zeros((dimension, dimension), np.float32),
        )

    @classmethod
    def load(cls, file: Path, heads: int, dimension: int) -> LearnedComposition:
        """Read a file of a bundle. Errors: `BundleError` where its arrays are not those of its configuration."""
        arrays = MappedTensors(file)
        shapes = {"heads": (heads, dimension), "bias": (heads,), "looks": (dimension, dimension)}
        if {name: array.shape for name, array in arrays.items()} != shapes:
            raise BundleError("bundle_corrupted", f"{file} does not fit the configuration of its bundle.")
        return cls(**{name: singles(array) for name, array in arrays.items()})

    def save(self, file: Path) -> None:
        """Write it, in half precision."""
        from safetensors.numpy import save_file

        arrays = {"heads": self.heads, "bias": self.bias, "looks": self.looks}
        save_file({name: array.astype(np.float16) for name, array in arrays.items()}, file)


@dataclass(frozen=True)
class Exchange:
    """How words take the place of others, on average over what is put in and what is taken out.

    `put`, `taken`: how common these are before the heads that the put words are completed by, a mean logarithm of
    counts. `alone`: the share of the empty head, 1 for words that stay as they are.
    """

    put: float
    taken: float
    alone: float


@dataclass(frozen=True)
class Composition:
    """A sum of n operands."""

    parts: Vectors
    """What each contributes: float32 (n, D), rows that add up to the unit vector of the whole."""
    merged: tuple[tuple[int, float], ...]
    """Terms that differ: the place of each, and its weight with that of its equals. What cancels out is left out."""
    exchange: Exchange | None = None
    """None where no words are exchanged on an image."""

    @property
    def vector(self) -> Vectors:
        """The unit vector (D,) of the whole."""
        total: Vectors = self.parts.sum(axis=0, dtype=np.float64).astype(np.float32)
        return total


class Composer:
    """The rule, with the numbers of a bundle and its text tower at hand. Thread-safe."""

    def __init__(self, config: CompositionConfig, learned: LearnedComposition, text: TextTower) -> None:
        """Heads that the text tower does not know are left out."""
        self.config = config
        rows = [row for row, head in enumerate(config.heads) if _knows(text, head)]
        self.heads = [config.heads[row] for row in rows]
        self._seen, self._bias, self._looks = learned.heads[rows], learned.bias[rows], learned.looks
        # The last row is the empty head.
        heads = text.summands(self.heads) if self.heads else np.zeros((0, self._looks.shape[0]), np.float32)
        self._head_vectors = np.concatenate([heads, np.zeros_like(heads, shape=(1, heads.shape[1]))])
        self._head_lengths = (self._head_vectors**2).sum(axis=1)
        self._text = text
        self._counts = lru_cache(_REMEMBERED)(self._count)
        self._before_heads = lru_cache(_REMEMBERED)(self._put_before_heads)
        self._phrases = _Remembered(self._embed_phrases)
        self._operands = _Remembered(lambda texts: list(text.embed(texts, "operand").astype(np.float64)))

    def __call__(self, operands: Sequence[Operand]) -> Composition:
        """The sum of some operands.

        Each operand is (vector (D,) or text, weight, kind). Errors: `DegenerateQueryError` where the sum is near zero,
        and those of the embedding.
        """
        # What is both added and taken is no exchange: equal texts are one operand, of which each has its share.
        keys = [self._text.tokens(value) if isinstance(value, str) else at for at, (value, _, _) in enumerate(operands)]
        totals: defaultdict[tuple[int, ...] | int, float] = defaultdict(float)
        for key, (_, weight, _) in zip(keys, operands, strict=True):
            totals[key] += weight
        kept = [key for key, total in totals.items() if abs(total) > EPSILON]
        merged = [(keys.index(key), totals[key]) for key in kept]
        whole, exchange = self._sum([(operands[at][0], total, operands[at][2]) for at, total in merged])
        parts: Vectors = np.zeros((len(operands), whole.shape[1]), np.float32)
        for row, (key, (_, weight, _)) in enumerate(zip(keys, operands, strict=True)):
            if key in kept:
                parts[row] = whole[kept.index(key)] * (weight / totals[key])
        return Composition(parts, tuple(merged), exchange)

    def _sum(self, operands: Sequence[Operand]) -> tuple[Floats, Exchange | None]:
        """The parts (n, D) of operands whose texts all differ, and the exchange that they are."""
        if not operands:
            raise DegenerateQueryError
        units = self._units(operands)
        scales = np.array([weight for _, weight, _ in operands])
        images = np.array([kind == "image" for _, _, kind in operands])
        texts = [isinstance(value, str) for value, _, _ in operands]
        added = [at for at, is_text in enumerate(texts) if is_text and scales[at] > 0]
        removed = [at for at, is_text in enumerate(texts) if is_text and scales[at] < 0]
        image = (units[images] * scales[images, None]).sum(axis=0)
        length = float(np.linalg.norm(image))
        plain = units * (scales * np.where(images, self.config.image_weight, 1.0))[:, None]
        _require_direction(plain)  # what cancels out plainly has no meaning by any rule
        exchange = None
        if self.heads and added and removed and length > DEGENERATE_NORM:
            plain, exchange = self._exchange(
                (image / length).astype(np.float32), operands, units * scales[:, None], added, removed
            )
        return plain / max(float(np.linalg.norm(plain.sum(axis=0))), EPSILON), exchange  # it may be short

    def head_fit(self, image: Vectors, removed: Sequence[str]) -> Floats:
        """How well each head, with what is removed before it, fits an image (D,): (heads + 1,), the empty one last."""
        near = self._head_vectors @ image
        evidence = self._seen @ image + self._bias
        total = np.zeros(len(self._head_vectors))
        for text in removed:
            word, lengths = self._before_heads(text)
            cosines = (near + float(word @ image)) / lengths
            counted = self.config.taken * self._counts(text)
            fit = cosines / self.config.temperature + counted
            fit[:-1] += evidence + _log_sum(counted[:-1]) - _log_sum(counted[:-1] + evidence)
            total += fit
        return total / len(removed)

    def likely_heads(self, fit: Floats, added: str) -> dict[int, float]:
        """The heads that an added text is completed by, with their probabilities, by the fit of all of them.

        For more than a word there is none but the empty one: it is a phrase already.
        """
        words = tokenise(added)
        if len(words) != 1:
            return {len(self.heads): 1.0}
        score = fit + self.config.put * self._counts(words[0])
        best = np.argsort(-score, kind="stable")[: self.config.phrases]
        probabilities = np.exp(score[best] - score[best[0]])
        probabilities /= probabilities.sum()
        return {at: float(probability) for at, probability in zip(best.tolist(), probabilities, strict=True)}

    def complete(self, heads: dict[int, float], added: str) -> tuple[Floats | None, float]:
        """An added text as phrases with its likely heads: a unit vector (D,), and the share of the empty head.

        There is no vector where that share is all.
        """
        phrases = dict(heads)
        alone = phrases.pop(len(self.heads), 0.0)
        if not phrases:
            return None, 1.0
        embedded = self._phrases([f"{added} {self.heads[at]}" for at in phrases])
        vectors = [_unit(said + self.config.looks * looks) for said, looks in embedded]
        return _unit(
            np.sum([probability * row for probability, row in zip(phrases.values(), vectors, strict=True)], axis=0)
        ), alone

    def _exchange(
        self,
        image: Vectors,
        operands: Sequence[Operand],
        weighted: Floats,
        added: Sequence[int],
        removed: Sequence[int],
    ) -> tuple[Floats, Exchange]:
        """The parts (n, D) where `removed` operands make place for `added` ones.

        `weighted` are the parts of a plain sum.
        """
        parts = weighted.copy()
        taken = [str(operands[at][0]) for at in removed]
        fit = self.head_fit(image, taken)
        shares, common = [], []
        for at in added:
            text = str(operands[at][0])
            heads = self.likely_heads(fit, text)
            common += [(self._mean_count(heads, text), self._mean_count(heads, other)) for other in taken]
            phrase, alone = self.complete(heads, text)
            shares.append(alone)
            if phrase is not None:
                mixed = (1 - alone) * phrase + alone * weighted[at] / operands[at][1]
                parts[at] = operands[at][1] * _unit(mixed)
        things = float(np.mean(shares))
        config = self.config
        images = [at for at, (_, _, kind) in enumerate(operands) if kind == "image"]
        parts[images] *= (1 - things) * config.swap_image_weight + things * config.thing_image_weight
        parts[list(removed)] *= (1 - things) * config.swap_removal + things * config.thing_removal
        put, taken_out = np.mean(common, axis=0).tolist()
        return parts, Exchange(put, taken_out, things)

    def _mean_count(self, heads: dict[int, float], text: str) -> float:
        """The mean logarithm of the counts of a text before these heads."""
        counts = self._counts(text)
        return sum(probability * float(counts[at]) for at, probability in heads.items())

    def _embed_phrases(self, texts: Sequence[str]) -> list[Floats]:
        """Phrases by the sentence encoder, and what they look like: (2, D) each."""
        said = self._text.embed(texts)
        return list(np.stack([said, said @ self._looks], axis=1).astype(np.float64))

    def _count(self, text: str) -> Floats:
        """The logarithm of how often a word stands before each head, and before none: (heads + 1,)."""
        words = tokenise(text)
        counts = self.config.pairs.get(words[0], {}) if len(words) == 1 else {}
        logarithms: Floats = np.log([counts.get(head, 0) + SMOOTHING for head in (*self.heads, "")])
        return logarithms

    def _put_before_heads(self, text: str) -> tuple[Vectors, Vectors]:
        """The sum of a text's words (D,), and the lengths of its sums with each head: (heads + 1,)."""
        (word,) = self._text.summands([text])
        squares = self._head_lengths + 2 * (self._head_vectors @ word) + float(word @ word)
        lengths: Vectors = np.sqrt(np.maximum(squares, EPSILON))
        for array in (word, lengths):
            array.setflags(write=False)  # they are remembered
        return word, lengths

    def operand(self, text: str) -> Floats:
        """The unit vector (D,) of one operand as it is."""
        return self._operands([text])[0]

    def _units(self, operands: Sequence[Operand]) -> Floats:
        embedded = iter(self._operands([value for value, _, _ in operands if isinstance(value, str)]))
        rows = [next(embedded) if isinstance(value, str) else value for value, _, _ in operands]
        units = np.stack(rows).astype(np.float64)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), EPSILON)
        return units


class _Remembered:
    """What a function gives for texts: those that it has seen are remembered, the others computed at once."""

    def __init__(self, compute: Callable[[Sequence[str]], list[Floats]]) -> None:
        self._compute = compute
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> list[Floats]:
        known = self._known
        found = {text: known[text] for text in texts if text in known}
        missing = list(dict.fromkeys(text for text in texts if text not in found))
        if missing:
            found |= zip(missing, self._compute(missing), strict=True)
            for text in missing:
                found[text].setflags(write=False)
            if len(known) >= _REMEMBERED:
                known = {}
            self._known = known | {text: found[text] for text in missing}  # a new one: others may be reading
        return [found[text] for text in texts]


def _knows(text: TextTower, head: str) -> bool:
    return "composition" in text.capabilities and not text.unknown_words(head)


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / max(float(np.linalg.norm(vector)), EPSILON)
    return unit


def _log_sum(logarithms: Floats) -> float:
    """The logarithm of the sum of what these are logarithms of; they may not be empty."""
    return float(np.logaddexp.reduce(logarithms))


def _require_direction(parts: Floats) -> float:
    norm = float(np.linalg.norm(parts.sum(axis=0)))
    if norm < DEGENERATE_NORM:
        raise DegenerateQueryError
    return norm
