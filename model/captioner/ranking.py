"""Which of an image's candidate captions come first: features of each, weighed by numbers fitted on development data.

The consensus is minimum Bayes risk over the pool itself: the caption that is most like the others is the least likely
to be wrong (Kumar, Byrne 2004; for captions Devlin et al. 2015, who need the training captions for it, while this does
not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.captioner.ngram_weights import Expected
from model.captioner.trigrams import MAX_ORDER, KneserNeyTrigrams, Table, pack

Floats = npt.NDArray[np.float64]

FEATURES = (
    "similarity",
    "fluency",
    "log_probability",
    "mean_log_probability",
    "consensus",
    "likely_consensus",
    "expected",
    "repeats",
    "length",
    "length_squared",
    "word_chances",
    "least_lift",
    "lifts",
    "missed",
    *(f"rarity_{order}" for order in range(1, MAX_ORDER + 1)),
)
"""Cosine with the image; log-probability per word by the trigrams; by the model, sum and mean; likeness to the others
of the pool, evenly and by their probability; likeness to what people are expected to write; content words that stand
there twice; words, and their square / 10; of its content words the sum of the log-chances, the least of the logarithms
of how much likelier each is than usual, and their sum; chances of the likeliest words that are not said, summed; how
telling its n-grams of one to four words are."""
LIKELIEST = 10
"""Words that a caption may miss."""


@dataclass(frozen=True)
class Ranker:
    """Features of candidates and their weighted sum."""

    trigrams: KneserNeyTrigrams
    frequencies: Table
    images: int
    content_words: frozenset[int]

    def features(
        self,
        sentences: Sequence[Sequence[int]],
        similarities: npt.ArrayLike,
        log_probabilities: npt.ArrayLike,
        expected: Expected,
    ) -> Floats:
        """The features of all candidates of one image (m, FEATURES); `expected`: see `ngram_weights.py`."""
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.float64)
        log_p = np.asarray(log_probabilities, dtype=np.float64)
        mean_log_p = log_p / (lengths + 1)
        likeness, expectation, norms = self.likeness(sentences, expected.ngrams)
        likely = np.exp(log_p - log_p.max())
        return np.column_stack(
            [
                np.asarray(similarities, dtype=np.float64),
                self.trigrams.fluency(sentences),
                log_p,
                mean_log_p,
                likeness.mean(axis=1),
                likeness @ likely / likely.sum(),
                expectation,
                np.array([self._repeats(sentence) for sentence in sentences], dtype=np.float64),
                lengths,
                lengths**2 / 10,
                word_features(sentences, expected),
                norms,
            ]
        )

    def likeness(self, sentences: Sequence[Sequence[int]], expected: Table) -> tuple[Floats, Floats, Floats]:
        """Cosines of tf-idf vectors, averaged over one to four words: of all pairs (m, m), and with `expected` (m,).

        And the lengths of these vectors (m, MAX_ORDER).
        """
        total = np.zeros((len(sentences), len(sentences)))
        expectation = np.zeros(len(sentences))
        lengths = np.zeros((len(sentences), MAX_ORDER))
        log_images = np.log(max(2, self.images))
        words = np.array([word for sentence in sentences for word in sentence])
        owner = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
        for order in range(1, MAX_ORDER + 1):
            starts = np.arange(len(words) - order + 1)
            starts = starts[owner[starts] == owner[starts + order - 1]]  # an n-gram lies within one sentence
            if not len(starts):
                continue
            keys = pack(words[starts[:, None] + np.arange(order)])
            unique, places = np.unique(keys, return_inverse=True)
            cells = owner[starts] * len(unique) + places
            counts = np.bincount(cells, minlength=len(sentences) * len(unique)).reshape(len(sentences), len(unique))
            weighted = counts * np.maximum(log_images - np.log(self.frequencies[unique]), 0.0)
            norms = np.linalg.norm(weighted, axis=1, keepdims=True)
            lengths[:, order - 1] = norms[:, 0]
            weighted /= np.where(norms > 0, norms, 1.0)
            total += weighted @ weighted.T
            expectation += weighted @ expected[unique]
        return total / MAX_ORDER, expectation / MAX_ORDER, lengths

    def _repeats(self, sentence: Sequence[int]) -> int:
        content = [word for word in sentence if word in self.content_words]
        return len(content) - len(set(content))


def word_features(sentences: Sequence[Sequence[int]], expected: Expected) -> Floats:
    """Of each sentence, by its content words: `word_chances`, `least_lift`, `lifts` and `missed` (m, 4)."""
    words = np.array([word for sentence in sentences for word in sentence], dtype=np.int64)
    owner = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
    places = expected.places[words].astype(np.int64)
    said = np.zeros((len(sentences), len(expected.chances)), dtype=np.bool_)
    said[owner[places >= 0], places[places >= 0]] = True
    likeliest = np.argsort(-expected.chances, kind="stable")[:LIKELIEST]
    least = np.where(said, expected.lifts, np.inf).min(axis=1, initial=np.inf)
    return np.stack(
        [
            said @ np.log(expected.chances),
            np.where(np.isinf(least), 0.0, least),
            said @ expected.lifts,
            ~said[:, likeliest] @ expected.chances[likeliest],
        ],
        axis=1,
    )


def weighted(features: Floats, weights: Mapping[str, float]) -> Floats:
    """The score of every candidate (m,); a feature without a weight does not count."""
    scores: Floats = features @ np.array([weights.get(name, 0.0) for name in FEATURES])
    return scores


def choose(
    sentences: Sequence[Sequence[int]], scores: Floats, rank: Sequence[tuple[int, ...]], n: int, diversity: float
) -> list[int]:
    """The places of up to `n` sentences, the best first.

    They are chosen one by one, from the best on: a sentence is worth its score and `diversity` times the share of its
    words that none chosen before has. `rank` comes before any score, lowest first.
    """
    words = [frozenset(sentence) for sentence in sentences]
    chosen: list[int] = []
    said: frozenset[int] = frozenset()
    while len(chosen) < min(n, len(sentences)):
        worth = {
            place: scores[place]
            + (diversity * len(words[place] - said) / max(1, len(sentences[place])) if chosen else 0.0)
            for place in range(len(sentences))
            if place not in chosen
        }
        best = min(worth, key=lambda place: (rank[place], -worth[place], tuple(sentences[place])))
        chosen.append(best)
        said |= words[best]
    return sorted(chosen, key=lambda place: (rank[place], -scores[place], tuple(sentences[place])))
