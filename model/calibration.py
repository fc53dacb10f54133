"""From a cosine to the chance that a hit is right.

    chance = bend(1 / (1 + exp(-(slope * cosine + intercept + weights . traits))))

A logistic curve for each kind of query and each target, after Platt, "Probabilistic Outputs for Support Vector
Machines" (1999). Its traits are what else of a query tells chances. A sentence has one, the reciprocal of its known
content words: *dog* lies farther from any photograph than a whole caption does, at the same chance of being right. An
exchange of words has two, how often captions say what is put and what is taken (`Composition.said`): a *black dog* is
there to be found, an *orange dog* hardly. Images have none. `bend` is a rising line through a few knots, by which an
isotonic regression over bins corrects the curve's shape (Zadrozny and Elkan, 2002).

**What the chance means.** It is the chance that people who describe the hit would mention all content words of the
query (for an exchange: what is put in, with what it is said of), *in a library as large as the set of the fit, about
1,000 photographs, in which something answers the query*. In a library where nothing does, the true chances are lower,
and in one full of it they are higher: a chance of 0.02 means "nothing here matches", and 0.5 means "look at it".
Captions leave much unsaid, so the chance rather understates how often a person would agree. Curves are fitted to the
first ten hits of queries to a captioned set and to as many others drawn at random: without these, a chance would say
nothing of what is far away, as all is where nothing matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.bundle import CalibrationConfig, CalibrationCurve
from model.content_words import content_words
from model.datasets import CaptionDataset
from model.evaluation.protocol import embed_captions
from model.evaluation.regularities import Swap, answerable, find_swaps, holds_phrase
from model.space import JointSpace

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
QueryKind = Literal["sentence", "image", "composed"]
CalibratedTarget = Literal["images", "sentences"]

HITS = 10
"""The first page: what chances have to be right for."""
OTHERS = 10
"""Hits of each query from below the first page, drawn at random, that the fit sees as well."""
BINS = 20
"""Bins of equal mass in which chances are compared with what happened."""
FRAGMENT_LENGTHS = (1, 2, 3)
"""Besides whole captions, sentences of so many content words in a row: people search like that."""
KNOTS = 12
"""Bins by which the shape of a curve is corrected."""
_LEAST_HITS = 100
_SEED = 0
_MAX_SWAPS = 5_000
_FLAT = 1e-6


@dataclass(frozen=True)
class Reliability:
    """How chances compare with what happened: one row a bin, lowest first."""

    error: float
    hits: int
    chance: tuple[float, ...]
    share_right: tuple[float, ...]


@dataclass(frozen=True)
class Hits:
    """Hits of all queries of one kind: cosine, traits of the query (n, T), right or not, the half, and the page.

    All others have the shape (n,); `half` is 0 for fitting and 1 for measuring; `first` marks those of the first page.
    """

    cosine: Floats
    traits: Floats
    right: npt.NDArray[np.bool_]
    half: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]

    @property
    def fitting(self) -> Hits:
        """Those that curves are fitted to."""
        return self._only(self.half == 0)

    @property
    def measuring(self) -> Hits:
        """Those that errors are measured on: of the first page alone."""
        return self._only((self.half == 1) & self.first)

    def _only(self, rows: npt.NDArray[np.bool_]) -> Hits:
        return Hits(self.cosine[rows], self.traits[rows], self.right[rows], self.half[rows], self.first[rows])


def curve_name(kind: QueryKind, target: CalibratedTarget) -> str:
    """The key of a curve in `CalibrationConfig.curves`."""
    return f"{kind}_to_{target}"


def chances(curve: CalibrationCurve, cosine: npt.ArrayLike, traits: npt.ArrayLike = ()) -> Floats:
    """Chances, from 0 to 1, of hits with these cosines (...,), for a query's traits (T,) or those of each (..., T).

    Where a query has not the traits of the curve, it counts as a usual one.
    """
    logit = curve.slope * np.asarray(cosine, dtype=np.float64) + curve.intercept + _shift(curve, traits)
    chance: Floats = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    if curve.bend:
        before, after = np.array(curve.bend).T
        chance = np.asarray(np.interp(chance, before, after))
    return chance


def lowest_cosine(curve: CalibrationCurve, chance: float, traits: Sequence[float] = ()) -> float:
    """The cosine from which on a hit has at least this chance; -inf for 0, inf for 1."""
    if chance <= 0:
        return -np.inf
    if chance >= 1:
        return np.inf
    if curve.bend:
        before, after = np.array(curve.bend).T
        chance = float(np.clip(np.interp(chance, after, before), 1e-12, 1 - 1e-12))
    logit = float(np.log(chance / (1 - chance)))
    return (logit - curve.intercept - float(_shift(curve, traits))) / curve.slope


def sentence_traits(space: JointSpace, text: str) -> tuple[float, ...]:
    """The trait of a sentence: the reciprocal of the number of its content words that the model knows, at most 1."""
    return (1 / max(1, len(content_words(text)) - len(space.unknown_words(text))),)


def known_share(space: JointSpace, text: str) -> float:
    """The share of a text's content words that the model knows, above 0; 1 where it has none."""
    unknown = len(space.unknown_words(text))
    total = max(len(content_words(text)), unknown)
    return max(total - unknown, 0.5) / total if unknown else 1.0


def fit_calibration(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> CalibrationConfig:
    """Fit every curve on the queries of every other photograph of `dataset`, and measure it on those of the rest.

    `image_vectors` (n, D) are those of the dataset's photographs, in its order. A kind without queries (a set without
    attributes has no composed ones) gets no curve.
    """
    curves, errors = {}, {}
    for name, hits in collect_hits(space, dataset, image_vectors):
        fitting, measuring = hits.fitting, hits.measuring
        if not fitting.right.any() or not len(measuring.right):
            continue
        curves[name] = _bend(_fit(fitting), fitting)
        errors[name] = round(_reliability(curves[name], measuring).error, 4)
    return CalibrationConfig(
        curves=curves,
        errors=errors,
        fitted_on=f"{dataset.name}, {dataset.split} split, {len(dataset.items):,} photographs: half for the fit, "
        "half for the errors",
    )


def measure_calibration(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> dict[str, Reliability]:
    """How far the bundle's chances are off, for each curve, on the half of the photographs kept out of its fit.

    Empty for a bundle without a calibration.
    """
    config = space.config.calibration
    if config is None:
        return {}
    return {
        name: _reliability(config.curves[name], hits.measuring)
        for name, hits in collect_hits(space, dataset, image_vectors)
        if name in config.curves and len(hits.measuring.right)
    }


def reliability(chance: npt.ArrayLike, right: npt.ArrayLike) -> Reliability:
    """The expected calibration error, over bins of equal mass: the mean distance of chance and share, by weight."""
    estimated, actual = np.asarray(chance, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(estimated, kind="stable")
    bins = [rows for rows in np.array_split(order, BINS) if len(rows)]
    expected = tuple(float(estimated[rows].mean()) for rows in bins)
    happened = tuple(float(actual[rows].mean()) for rows in bins)
    weights = [len(rows) / len(order) for rows in bins]
    error = sum(weight * abs(a - b) for weight, a, b in zip(weights, expected, happened, strict=True))
    return Reliability(error, len(order), expected, happened)


def _reliability(curve: CalibrationCurve, hits: Hits) -> Reliability:
    return reliability(chances(curve, hits.cosine, hits.traits), hits.right)


def collect_hits(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> Iterator[tuple[str, Hits]]:
    """Hits of every kind of query to the photographs and the captions of a set, with what is right.

    Each query has up to HITS first ones, and up to OTHERS from below.
    """
    random = np.random.default_rng(_SEED)
    said = _Said(dataset)
    owner = said.owner
    captions = embed_captions(space, said.captions, space.config.text.sentence_encoder)
    fragments, fragment_owner = _fragments(said)
    texts = [*said.captions, *fragments]
    text_owner = np.concatenate([owner, fragment_owner])
    text_vectors = np.concatenate([captions, embed_captions(space, fragments, space.config.text.sentence_encoder)])
    traits = np.array([sentence_traits(space, text) for text in texts])
    contents = [content_words(text) for text in texts]

    def pick(
        queries: Vectors, items: Vectors, forbidden: Sequence[Sequence[Any]]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        scores = (queries @ items.T).astype(np.float64)
        for row, columns in enumerate(forbidden):
            scores[row, list(columns)] = -np.inf
        ranked = np.argsort(-scores, axis=1, kind="stable")
        below = random.integers(HITS, max(ranked.shape[1], HITS + 1), size=(len(ranked), OTHERS))
        below = below[:, below.max(axis=0) < ranked.shape[1]]  # none, where the first page holds everything
        found = np.concatenate([ranked[:, :HITS], np.take_along_axis(ranked, below, axis=1)], axis=1)
        return np.take_along_axis(scores, found, axis=1), found

    known = np.flatnonzero(text_vectors.any(axis=1))
    cosine, found = pick(text_vectors[known], image_vectors, [()] * len(known))
    right = [[contents[q] <= said.by_image[i] for i in row] for q, row in zip(known, found, strict=True)]
    yield "sentence_to_images", _hits(cosine, traits[known], right, text_owner[known])

    itself: list[Sequence[Any]] = [(q,) if q < len(captions) else () for q in known]
    cosine, found = pick(text_vectors[known], captions, itself)
    right = [
        [owner[s] == text_owner[q] or contents[q] <= contents[s] for s in row]
        for q, row in zip(known, found, strict=True)
    ]
    yield "sentence_to_sentences", _hits(cosine, traits[known], right, text_owner[known])

    rows, none = np.arange(len(image_vectors)), np.empty((len(image_vectors), 0))
    cosine, found = pick(image_vectors, captions, [()] * len(rows))
    right = [[contents[s] <= said.by_image[i] for s in row] for i, row in zip(rows, found, strict=True)]
    yield "image_to_sentences", _hits(cosine, none, right, rows)

    cosine, found = pick(image_vectors, image_vectors, [(row,) for row in rows])
    own = [np.flatnonzero(owner == row) for row in rows]
    right = [
        [any(contents[s] <= said.by_image[i] for s in own[j]) for j in row] for i, row in zip(rows, found, strict=True)
    ]
    yield "image_to_images", _hits(cosine, none, right, rows)

    swaps = _sample(answerable(space, find_swaps(dataset)))
    if not swaps:
        return
    answers = [
        space.composition(
            [(image_vectors[swap.image], 1.0, "image"), (swap.old, -1.0, "text"), (swap.new, 1.0, "text")]
        )
        for swap in swaps
    ]
    composed = np.stack([answer.vector for answer in answers])
    traits = np.array([answer.said for answer in answers])
    asked = np.array([swap.image for swap in swaps])
    cosine, found = pick(composed, image_vectors, [(swap.image,) for swap in swaps])
    right = [[i in swap.targets for i in row] for swap, row in zip(swaps, found, strict=True)]
    yield "composed_to_images", _hits(cosine, traits, right, asked)

    cosine, found = pick(composed, captions, [()] * len(swaps))
    right = [
        [holds_phrase(said.captions[s], swap.new, swap.noun) for s in row]
        for swap, row in zip(swaps, found, strict=True)
    ]
    yield "composed_to_sentences", _hits(cosine, traits, right, asked)


class _Said:
    """What the captions of a set say: all of them in a row, whose they are, and the content words of each image."""

    def __init__(self, dataset: CaptionDataset) -> None:
        self.captions = [caption for item in dataset.items for caption in item.captions]
        self.owner = np.repeat(np.arange(len(dataset.items)), [len(item.captions) for item in dataset.items])
        self.by_image = [
            frozenset[str]().union(*(content_words(caption) for caption in item.captions)) for item in dataset.items
        ]


def _fragments(said: _Said) -> tuple[list[str], npt.NDArray[np.int64]]:
    """For every photograph a few content words in a row out of one of its captions, one text for each length."""
    random = np.random.default_rng(_SEED)
    texts, owners = [], []
    for image in range(len(said.by_image)):
        captions = np.flatnonzero(said.owner == image)
        words = [word for word in said.captions[int(random.choice(captions))].lower().split() if content_words(word)]
        for length in FRAGMENT_LENGTHS:
            if len(words) >= length:
                start = int(random.integers(len(words) - length + 1))
                texts.append(" ".join(words[start : start + length]))
                owners.append(image)
    return texts, np.array(owners, dtype=np.int64)


def _sample(swaps: list[Swap]) -> list[Swap]:
    step = -(-len(swaps) // _MAX_SWAPS) or 1
    return swaps[::step]


def _hits(cosine: Floats, traits: Floats, right: Sequence[Sequence[bool]], image: npt.NDArray[np.int64]) -> Hits:
    """Flatten (queries, hits), with traits (queries, T); the photograph that a query is about decides its half."""
    count = cosine.shape[1]
    first = np.tile(np.arange(count) < HITS, len(cosine))
    real = np.isfinite(cosine).ravel()  # what must not be found comes last, where there is nothing else
    return Hits(
        cosine=cosine.ravel()[real],
        traits=np.repeat(traits, count, axis=0)[real],
        right=np.array(right, dtype=bool).ravel()[real],
        half=np.repeat(image % 2, count)[real],
        first=first[real],
    )


def _shift(curve: CalibrationCurve, traits: npt.ArrayLike) -> Floats:
    """What traits (..., T) add to the logit: (...,)."""
    values, weights = np.asarray(traits, dtype=np.float64), np.array(curve.weights)
    shift: Floats = (values if values.shape[-1:] == weights.shape else np.array(curve.usual)) @ weights
    return shift


def _fit(hits: Hits) -> CalibrationCurve:
    """The maximum likelihood, by Newton's method, with Platt's smoothed targets: no chance becomes 0 or 1."""
    features = np.column_stack([hits.cosine, np.ones_like(hits.cosine), hits.traits])
    positives = int(hits.right.sum())
    negatives = len(hits.right) - positives
    target = np.where(hits.right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -500, 500)))
        gradient = features.T @ (chance - target)
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    slope, intercept, *others = (float(weight) for weight in weights)
    if slope <= 0:  # nothing to be learned from so few hits: the same chance for all
        share = (positives + 1) / (len(hits.right) + 2)
        return CalibrationCurve(slope=_FLAT, intercept=float(np.log(share / (1 - share))))
    usual = tuple(float(mean) for mean in hits.traits.mean(axis=0))
    return CalibrationCurve(slope=slope, intercept=intercept, weights=tuple(others), usual=usual)


def _bend(curve: CalibrationCurve, hits: Hits) -> CalibrationCurve:
    """Correct a logistic curve by what happened in a few bins of equal mass, pooled until they rise."""
    estimated = chances(curve, hits.cosine, hits.traits)
    order = np.argsort(estimated, kind="stable")
    pools: list[tuple[float, float, int]] = []  # mean chance, share right, hits
    for rows in np.array_split(order, KNOTS):
        if len(rows) < _LEAST_HITS:
            return curve  # too few to correct anything by
        pools.append((float(estimated[rows].mean()), float(hits.right[rows].mean()), len(rows)))
        while len(pools) > 1 and pools[-1][1] <= pools[-2][1]:
            (x, y, n), (last_x, last_y, last_n) = pools.pop(-2), pools.pop()
            pools.append(
                ((x * n + last_x * last_n) / (n + last_n), (y * n + last_y * last_n) / (n + last_n), n + last_n)
            )
    inner = [(x, y) for x, y, _ in pools if 0 < x < 1 and 0 < y < 1]
    knots = tuple((round(x, 6), round(y, 6)) for x, y in ((0.0, 0.0), *inner, (1.0, 1.0)))
    rising = all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(knots))
    return curve.model_copy(update={"bend": knots}) if rising else curve
