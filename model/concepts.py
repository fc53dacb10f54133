"""Concepts: words that say what an image shows, each with a probability.

    detector = space.concepts                                # None where the bundle has none
    detector.name(vectors, 8)                                # for each vector, pairs (word, probability)
    detector.things(vectors)                                 # for each, the thing that a caption should name, or None

Two detectors read one image vector. The first tells the words that captions of photographs say: a kernel ridge
regression from centred vectors (bundles before format version 8: a linear one), and a logistic curve that turns its
scores into probabilities. The second tells the kinds of things that the image tower was pre-trained to classify:
cosines with what photographs of each kind look like, as deviations from those of ordinary photographs, so that what
many photographs have a little of is no thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from model.concepts_config import ConceptsConfig
from model.runtime.tensors import MappedTensors, singles

CONCEPTS = "concepts.safetensors"
SMALLEST_SHARE = 3e-4
"""A word is taken to be said of at least this share of all photographs."""

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """What an image shows by itself: its name, every name that would be right, and how likely the name is."""

    name: str
    names: tuple[str, ...]
    probability: float = 1.0


@dataclass(frozen=True)
class Kernel:
    """Features exp(-|P^T z - l|^2) of centred unit vectors z: `projection` P (D, d), and `landmarks` l (L, d)."""

    projection: Vectors
    landmarks: Vectors

    def features(self, contents: Vectors) -> Vectors:
        """How near each of the contents (n, D) is to each landmark (n, L), from 0 to 1."""
        return self.nearness(contents @ self.projection)

    def nearness(self, places: Vectors) -> Vectors:
        """The same of contents that were projected (n, d)."""
        squares = (places**2).sum(axis=1)[:, None] + (self.landmarks**2).sum(axis=1)
        near: Vectors = np.exp(-np.maximum(squares - 2 * places @ self.landmarks.T, 0))
        return near


@dataclass(frozen=True)
class Reading:
    """What both detectors find in n images: probabilities of words (n, W), and deviations of kinds (n, K)."""

    probabilities: Floats
    deviations: Floats


class ConceptDetector:
    """Both detectors of a bundle. Thread-safe. `kernel`: None where the first one is linear."""

    def __init__(
        self,
        config: ConceptsConfig,
        centre: Vectors,
        weights: Vectors,
        shares: Vectors,
        looks: Vectors,
        usual: Vectors,
        spread: Vectors,
        projection: Vectors | None = None,
        landmarks: Vectors | None = None,
        habits: Vectors | None = None,
    ) -> None:
        """`centre` (D,), `weights` (W, D), `shares` (W,) of the words; `looks` (K, D), `usual` and `spread` (K,).

        With a kernel's `projection` (D, d) and `landmarks` (L, d), `weights` are (W, L). `habits` (names,): how often
        captions say each of `names_of`, where it fits; none: always.
        """
        self.config = config
        self._centre = centre
        self._weights = weights
        self._shares = np.clip(shares.astype(np.float64), SMALLEST_SHARE, 0.97)
        self._looks = looks
        self._usual = usual
        self._spread = spread
        self.kernel = None if projection is None or landmarks is None else Kernel(projection, landmarks)
        places = {word: place for place, word in enumerate(config.words)}
        self._people = [places[word] for word in config.people]
        self._words = names_of(config)
        self._habits = np.ones(len(self._words)) if habits is None else habits.astype(np.float64)
        numbers = {word: number for number, word in enumerate(self._words)}
        self._called = np.zeros((len(config.names), len(self._words)))
        for kind, (name, broader) in enumerate(zip(config.names, config.broader, strict=True)):
            self._called[kind, [numbers[word] for word in (name, *broader)]] = 1
        self._numbers = numbers

    @classmethod
    def load(cls, config: ConceptsConfig, path: Path) -> Self:
        """Read the detectors' tensors from a verified file."""
        tensors = {name: singles(tensor) for name, tensor in MappedTensors(path).items()}
        return cls(config, **tensors)

    def read(self, vectors: Vectors) -> Reading:
        """What both detectors find in images (n, D)."""
        return Reading(self.word_probabilities(vectors), self.deviations(vectors))

    def word_probabilities(self, vectors: Vectors) -> Floats:
        """How likely captions of each image (n, D) say each word (n, W)."""
        inputs = calibration_inputs(self.word_scores(vectors), self._shares)
        *weights, constant = self.config.calibration
        probabilities: Floats = 1 / (1 + np.exp(-(inputs @ np.array(weights) + constant)))
        return probabilities

    def word_scores(self, vectors: Vectors) -> Floats:
        """The regression: by how much each word is more likely than usual (n, W)."""
        contents = _unit(vectors - self._centre)
        inputs = contents if self.kernel is None else self.kernel.features(contents)
        scores: Floats = (inputs @ self._weights.T).astype(np.float64)
        return scores

    def deviations(self, vectors: Vectors) -> Floats:
        """How much more each image looks like each kind than ordinary photographs do, in their deviations (n, K)."""
        deviations: Floats = ((vectors @ self._looks.T - self._usual) / self._spread).astype(np.float64)
        return deviations

    def name(self, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """For each of the vectors (n, D) up to `k` words with their probabilities, best first; never none."""
        return self.named(self.read(vectors), k)

    def named(self, read: Reading, k: int) -> list[list[tuple[str, float]]]:
        """As `name`, of images that were read."""
        probabilities, deviations = read.probabilities, read.deviations
        kinds = self.name_chances(deviations) * self._habits
        alone = self._alone(deviations, probabilities)
        named: list[list[tuple[str, float]]] = []
        for row in range(len(probabilities)):
            found = dict(zip(self.config.words, probabilities[row].tolist(), strict=True))
            shown = {word: probability for word, probability in found.items() if probability >= self.config.shown}
            # A thing that no word names yet is better named by a guess than not at all.
            nameless = alone[row] and shown.keys().isdisjoint(self._names(int(deviations[row].argmax())))
            least = self.config.shown_thing if nameless else self.config.shown
            for number in np.flatnonzero(kinds[row] >= least).tolist():
                word = self._words[number]
                shown[word] = max(shown.get(word, 0.0), float(kinds[row, number]))
            best = sorted(shown.items(), key=lambda pair: (-pair[1], pair[0]))
            named.append(best[:k] or [max(found.items(), key=lambda pair: pair[1])])
        return named

    def things(self, vectors: Vectors) -> list[Thing | None]:
        """What each image (n, D) shows by itself, if it does: what a caption of it should name."""
        return self.shown(self.read(vectors))

    def shown(self, read: Reading) -> list[Thing | None]:
        """As `things`, of images that were read."""
        deviations = read.deviations
        alone = self._alone(deviations, read.probabilities)
        sure = self._sure(deviations).tolist()
        kinds = self._kind_chances(deviations)
        return [
            self._thing(int(deviations[row].argmax()), kinds[row], sure[row]) if alone[row] else None
            for row in range(len(deviations))
        ]

    def _alone(self, deviations: Floats, probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Whether images show a thing, and nobody (n,); the surer the thing, the surer somebody has to be."""
        excess = deviations.max(axis=1) - self.config.thing
        alone: npt.NDArray[np.bool_] = (excess >= 0) & (
            self.somebody(probabilities) < np.minimum(0.5 + 0.02 * excess, 0.9)
        )
        return alone

    def _sure(self, deviations: Floats) -> Floats:
        """How likely the likeliest kind is there at all (n,)."""
        slope, constant = self.config.said
        sure: Floats = 1 / (1 + np.exp(-(slope * deviations.max(axis=1) + constant)))
        return sure

    def somebody(self, probabilities: Floats) -> Floats:
        """How likely a caption mentions a person (n,), of the words' probabilities (n, W)."""
        likeliest: Floats = probabilities[:, self._people].max(axis=1, initial=0.0)
        return likeliest

    def name_chances(self, deviations: Floats) -> Floats:
        """How likely each of `names_of` fits (n, names)."""
        chances: Floats = self._kind_chances(deviations) * self._sure(deviations)[:, None]
        return chances

    def _kind_chances(self, deviations: Floats) -> Floats:
        """How likely each name fits, if one of the kinds is there: the sum over the kinds that it names (n, names)."""
        probabilities = np.exp(self.config.sharpness * (deviations - deviations.max(axis=1, keepdims=True)))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        named: Floats = probabilities @ self._called
        return named

    def _names(self, kind: int) -> tuple[str, ...]:
        """The exact name of a kind, and then its more general ones."""
        return self.config.names[kind], *self.config.broader[kind]

    def _thing(self, kind: int, probabilities: Floats, sure: float) -> Thing:
        """A kind by its exact name, or by a more general one that is much more likely or that people say instead."""
        name, *broader = names = self._names(kind)
        best = name
        for word in broader:
            if word in self.config.plain:
                best = word
                break
            likely, chosen = probabilities[self._numbers[word]], probabilities[self._numbers[best]]
            if likely > max(1.5 * chosen, chosen + 0.15):
                best = word
        return Thing(best, names, sure * float(probabilities[self._numbers[best]]))


def names_of(config: ConceptsConfig) -> list[str]:
    """What kinds are called, exactly and more generally, each name once."""
    return list(dict.fromkeys([*config.names, *(name for names in config.broader for name in names)]))


def calibration_inputs(scores: Floats, shares: Floats) -> Floats:
    """What the curve of the words reads of scores (n, W) and shares (W,): (n, W, 4)."""
    deviation = scores / np.sqrt(shares * (1 - shares))
    expected = np.clip(shares + scores, 0.003, 0.97)
    return np.stack(
        [
            deviation,
            np.log(expected / (1 - expected)),
            np.broadcast_to(np.log(shares / (1 - shares)), scores.shape),
            np.sqrt(np.maximum(deviation, 0)),
        ],
        axis=-1,
    )


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit
