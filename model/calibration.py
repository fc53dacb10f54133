"""From a cosine to the chance that a hit is right.

    chance = bend(1 / (1 + exp(-(slope * cosine + intercept + brevity / words))))

A logistic curve for each kind of query and each target, after Platt, "Probabilistic Outputs for Support Vector
Machines" (1999). `words` counts the known content words of a sentence: *dog* lies farther from any photograph than a
whole caption does, at the same chance of being right. Other queries have no length. `bend` is a rising line
through a few knots, by which an isotonic regression over bins corrects the curve's shape (Zadrozny and Elkan, 2002).

**What the chance means.** Fitted on the first ten hits of queries to a captioned set, it is the chance that people who
describe the hit would mention all that the query says (`_says_nothing_else` below is the exact rule), *in a library as
large as that set, about 1,000 photographs, in which something answers the query*. In a library where nothing does, the
true chances are lower, and in one full of it they are higher: a chance of 0.02 means "nothing here matches", and 0.5
means "look at it". Captions leave much unsaid, so the chance rather understates how often a person would agree.
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
"""The first page: what the curves are fitted to."""
BINS = 20
"""Bins of equal mass in which chances are compared with what happened."""
FRAGMENT_LENGTHS = (1, 2, 3)
"""Besides whole captions, sentences of so many content words in a row: people search like that."""
KNOTS = 8
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
    """The first hits of all queries of one kind: cosine, known words of the query, right or not, and the half.

    All have the shape (n,); `half` is 0 for fitting and 1 for measuring.
    """

    cosine: Floats
    words: Floats
    right: npt.NDArray[np.bool_]
    half: npt.NDArray[np.int64]


def curve_name(kind: QueryKind, target: CalibratedTarget) -> str:
    """The key of a curve in `CalibrationConfig.curves`."""
    return f"{kind}_to_{target}"


def chances(curve: CalibrationCurve, cosine: npt.ArrayLike, words: npt.ArrayLike = 1) -> Floats:
    """Chances, from 0 to 1, of hits with these cosines; both arguments broadcast."""
    known = np.maximum(np.asarray(words, dtype=np.float64), 1.0)
    logit = curve.slope * np.asarray(cosine, dtype=np.float64) + curve.intercept + curve.brevity / known
    chance: Floats = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    if curve.bend:
        before, after = np.array(curve.bend).T
        chance = np.asarray(np.interp(chance, before, after))
    return chance


def lowest_cosine(curve: CalibrationCurve, chance: float, words: int = 1) -> float:
    """The cosine from which on a hit has at least this chance; -inf for 0, inf for 1."""
    if chance <= 0:
        return -np.inf
    if chance >= 1:
        return np.inf
    if curve.bend:
        before, after = np.array(curve.bend).T
        chance = float(np.clip(np.interp(chance, after, before), 1e-12, 1 - 1e-12))
    logit = float(np.log(chance / (1 - chance)))
    return (logit - curve.intercept - curve.brevity / max(words, 1)) / curve.slope


def count_content(space: JointSpace, text: str) -> int:
    """How many content words of a sentence the model knows; at least 1."""
    return max(1, len(content_words(text)) - len(space.unknown_words(text)))


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
        fitting, measuring = hits.half == 0, hits.half == 1
        if not hits.right[fitting].any() or not measuring.any():
            continue
        curve = _bend(
            _fit(hits.cosine[fitting], hits.words[fitting], hits.right[fitting]),
            hits.cosine[fitting],
            hits.words[fitting],
            hits.right[fitting],
        )
        curves[name] = curve
        estimated = chances(curve, hits.cosine[measuring], hits.words[measuring])
        errors[name] = round(reliability(estimated, hits.right[measuring]).error, 4)
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
        name: reliability(
            chances(config.curves[name], hits.cosine[hits.half == 1], hits.words[hits.half == 1]),
            hits.right[hits.half == 1],
        )
        for name, hits in collect_hits(space, dataset, image_vectors)
        if name in config.curves and (hits.half == 1).any()
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


def collect_hits(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> Iterator[tuple[str, Hits]]:
    """The first hits of every kind of query to the photographs and the captions of a set, with what is right."""
    said = _Said(dataset)
    owner = said.owner
    captions = embed_captions(space, said.captions, space.config.text.sentence_encoder)
    fragments, fragment_owner = _fragments(said)
    texts = [*said.captions, *fragments]
    text_owner = np.concatenate([owner, fragment_owner])
    text_vectors = np.concatenate([captions, embed_captions(space, fragments, space.config.text.sentence_encoder)])
    words = np.array([count_content(space, text) for text in texts], dtype=np.float64)
    contents = [content_words(text) for text in texts]

    def pick(
        queries: Vectors, items: Vectors, forbidden: Sequence[Sequence[Any]]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        scores = (queries @ items.T).astype(np.float64)
        for row, columns in enumerate(forbidden):
            scores[row, list(columns)] = -np.inf
        found = np.argsort(-scores, axis=1, kind="stable")[:, :HITS]
        return np.take_along_axis(scores, found, axis=1), found

    known = np.flatnonzero(text_vectors.any(axis=1))
    cosine, found = pick(text_vectors[known], image_vectors, [()] * len(known))
    right = [[contents[q] <= said.by_image[i] for i in row] for q, row in zip(known, found, strict=True)]
    yield "sentence_to_images", _hits(cosine, words[known], right, text_owner[known])

    itself: list[Sequence[Any]] = [(q,) if q < len(captions) else () for q in known]
    cosine, found = pick(text_vectors[known], captions, itself)
    right = [
        [owner[s] == text_owner[q] or contents[q] <= contents[s] for s in row]
        for q, row in zip(known, found, strict=True)
    ]
    yield "sentence_to_sentences", _hits(cosine, words[known], right, text_owner[known])

    rows = np.arange(len(image_vectors))
    cosine, found = pick(image_vectors, captions, [()] * len(rows))
    right = [[contents[s] <= said.by_image[i] for s in row] for i, row in zip(rows, found, strict=True)]
    yield "image_to_sentences", _hits(cosine, np.ones(len(rows)), right, rows)

    cosine, found = pick(image_vectors, image_vectors, [(row,) for row in rows])
    own = [np.flatnonzero(owner == row) for row in rows]
    right = [
        [any(contents[s] <= said.by_image[i] for s in own[j]) for j in row] for i, row in zip(rows, found, strict=True)
    ]
    yield "image_to_images", _hits(cosine, np.ones(len(rows)), right, rows)

    swaps = _sample(answerable(space, find_swaps(dataset)))
    if not swaps:
        return
    composed = np.stack(
        [
            space.compose(
                [(image_vectors[swap.image], 1.0, "image"), (swap.old, -1.0, "text"), (swap.new, 1.0, "text")]
            )
            for swap in swaps
        ]
    )
    asked = np.array([swap.image for swap in swaps])
    cosine, found = pick(composed, image_vectors, [(swap.image,) for swap in swaps])
    right = [[i in swap.targets for i in row] for swap, row in zip(swaps, found, strict=True)]
    yield "composed_to_images", _hits(cosine, np.ones(len(swaps)), right, asked)

    cosine, found = pick(composed, captions, [()] * len(swaps))
    right = [
        [holds_phrase(said.captions[s], swap.new, swap.noun) for s in row]
        for swap, row in zip(swaps, found, strict=True)
    ]
    yield "composed_to_sentences", _hits(cosine, np.ones(len(swaps)), right, asked)


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


def _hits(cosine: Floats, words: Floats, right: Sequence[Sequence[bool]], image: npt.NDArray[np.int64]) -> Hits:
    """Flatten (queries, hits); the photograph that a query is about decides its half."""
    count = cosine.shape[1]
    real = np.isfinite(cosine).ravel()  # what must not be found comes last, where there is nothing else
    return Hits(
        cosine=cosine.ravel()[real],
        words=np.repeat(words, count)[real],
        right=np.array(right, dtype=bool).ravel()[real],
        half=np.repeat(image % 2, count)[real],
    )


def _fit(cosine: Floats, words: Floats, right: npt.NDArray[np.bool_]) -> CalibrationCurve:
    """The maximum likelihood, by Newton's method, with Platt's smoothed targets: no chance becomes 0 or 1."""
    columns = [cosine, np.ones_like(cosine)]
    if words.max() > words.min():
        columns.append(1 / np.maximum(words, 1.0))
    features = np.stack(columns, axis=1).astype(np.float64)  # (n, 2 or 3)
    positives = int(right.sum())
    negatives = len(right) - positives
    target = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -500, 500)))
        gradient = features.T @ (chance - target)
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    slope, intercept, *brevity = (float(weight) for weight in weights)
    if slope <= 0:  # nothing to be learned from so few hits: the same chance for all
        share = (positives + 1) / (len(right) + 2)
        return CalibrationCurve(slope=_FLAT, intercept=float(np.log(share / (1 - share))))
    return CalibrationCurve(slope=slope, intercept=intercept, brevity=brevity[0] if brevity else 0.0)


def _bend(curve: CalibrationCurve, cosine: Floats, words: Floats, right: npt.NDArray[np.bool_]) -> CalibrationCurve:
    """Correct a logistic curve by what happened in a few bins of equal mass, pooled until they rise."""
    estimated = chances(curve, cosine, words)
    order = np.argsort(estimated, kind="stable")
    pools: list[tuple[float, float, int]] = []  # mean chance, share right, hits
    for rows in np.array_split(order, KNOTS):
        if len(rows) < _LEAST_HITS:
            return curve  # too few to correct anything by
        pools.append((float(estimated[rows].mean()), float(right[rows].mean()), len(rows)))
        while len(pools) > 1 and pools[-1][1] <= pools[-2][1]:
            (x, y, n), (last_x, last_y, last_n) = pools.pop(-2), pools.pop()
            pools.append(
                ((x * n + last_x * last_n) / (n + last_n), (y * n + last_y * last_n) / (n + last_n), n + last_n)
            )
    inner = [(x, y) for x, y, _ in pools if 0 < x < 1 and 0 < y < 1]
    knots = tuple((round(x, 6), round(y, 6)) for x, y in ((0.0, 0.0), *inner, (1.0, 1.0)))
    rising = all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(knots))
    return curve.model_copy(update={"bend": knots}) if rising else curve
