"""Fit the rule of arithmetic (`model.compose.arithmetic`): counts from captions, weights by measurement.

Weights for exchanged attributes are those of the largest nDCG (`model.evaluation.graded`) over folds of the training
photographs, each a collection of its own. Measured on development photographs they are not fitted to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from model.bundle import CompositionConfig
from model.compose.arithmetic import Composer, LearnedComposition
from model.compose.attributes import VALUES
from model.content_words import FUNCTION_WORDS
from model.data.datasets import CaptionDataset
from model.evaluation.graded import GradedQuery, find_graded, ndcg
from model.evaluation.regularities import (
    KINDS,
    NO_NOUNS,
    SCENES,
    Mentions,
    answerable,
    find_exchanges,
    score_answers,
)
from model.space import JointSpace
from model.training.fitting.phrases import learn_composition
from model.words import tokenise

Vectors = npt.NDArray[np.float32]

HEADS = 200
MIN_PAIR = 3
"""Pairs of words that stand in fewer captions are left out of the bundle."""
MIN_WORD = 20
FOLDS, FOLD_PHOTOGRAPHS, FOLD_QUERIES = 3, 1_000, 1_500
"""Collections of training photographs, at most, and about how many queries of each decide."""

_TEMPERATURES = (0.1, 0.2, 0.3)
_PUT = (0.4, 0.7)
_PHRASES = (2, 4)
_LOOKS = (4.0, 16.0, 64.0)
_IMAGE_WEIGHTS = (0.05, 0.1, 0.2, 0.3)
_THING_WEIGHTS = (0.1, 0.3, 0.5, 0.7, 1.0)
_THING_REMOVALS = (0.0, 0.2, 0.5, 1.0)
_KEEPING = 4
"""What a percent of the rest counts against a percent of success, where things are exchanged."""


def fit_composition(
    space: JointSpace,
    train: CaptionDataset,
    dev: CaptionDataset,
    train_vectors: Vectors,
    dev_vectors: Vectors,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[CompositionConfig, LearnedComposition]:
    """All of it from `train`, but for the weights where things are exchanged, which `dev` decides.

    The vectors (n, D) are those of the photographs, in their order. Where the captions have no attributes, the rule
    stays a plain sum. `report(done, total)` counts the settings that were tried.
    """
    counted = count_phrases(train)
    folds = _folds(space, train, train_vectors)
    if not folds or not counted.heads:
        plain = space.config.composition.model_copy(update={"heads": (), "pairs": {}})
        return plain, LearnedComposition.none(0, space.dimension)
    learned, taken = learn_composition(space, train, train_vectors, counted)
    counted = counted.model_copy(update={"taken": round(taken, 4)})
    composer = space.composer_with(counted, learned)
    settings = list(product(_TEMPERATURES, _PUT, _PHRASES, _LOOKS))
    best: tuple[float, CompositionConfig] | None = None
    for number, (temperature, put, phrases, looks) in enumerate(settings):
        values = {"temperature": temperature, "put": put, "phrases": phrases, "looks": looks}
        composer.config = counted.model_copy(update=values)  # what it remembers of phrases stays good
        completed = [_completed(composer, fold.asked, fold.queries) for fold in folds]
        for image_weight in _IMAGE_WEIGHTS:
            merit = np.mean(
                [
                    ndcg(_unit(added + image_weight * fold.asked), fold.images, fold.queries)
                    for added, fold in zip(completed, folds, strict=True)
                ]
            )
            if best is None or merit > best[0]:
                # Taking the attribute away as well lost at every weight: the phrase says it already.
                weights = {"swap_image_weight": image_weight, "swap_removal": 0.0}
                best = float(merit), composer.config.model_copy(update=weights)
        report(number + 1, len(settings))
    if best is None:
        raise RuntimeError("there are no settings to try")
    return _choose_thing_weights(space, best[1], dev, dev_vectors, Mentions(dev)), learned


@dataclass(frozen=True)
class _Fold:
    """A collection of training photographs: their vectors (n, D), queries, and the vectors that these ask about."""

    images: Vectors
    queries: list[GradedQuery]
    asked: Vectors


def _folds(space: JointSpace, train: CaptionDataset, vectors: Vectors) -> list[_Fold]:
    """Disjoint parts of the training photographs that have queries."""
    order = np.random.default_rng(0).permutation(len(train.items))
    size = min(FOLD_PHOTOGRAPHS, len(order))
    folds = []
    for number in range(min(FOLDS, len(order) // max(1, size))):
        rows = order[number * size :][:size].tolist()
        part = replace(train, items=tuple(train.items[row] for row in rows))
        queries = answerable(space, find_graded(part))
        queries = queries[:: -(-len(queries) // FOLD_QUERIES) or 1]
        images = vectors[rows]
        if queries:
            folds.append(_Fold(images, queries, images[[query.image for query in queries]]))
    return folds


def count_phrases(train: CaptionDataset) -> CompositionConfig:
    """A configuration with the heads of a set, and how often its words stand before them; weights as by default.

    A word that attributes stand before can do without a head: its count before none is how often they do.
    """
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for item in train.items:
        for caption in item.captions:
            tokens = tokenise(caption)
            words.update(tokens)
            pairs.update(pairwise(tokens))
    described: Counter[str] = Counter()
    for (first, second), count in pairs.items():
        if first in VALUES and second not in NO_NOUNS | FUNCTION_WORDS:
            described[second] += count
    heads = [head for head, _ in sorted(described.items(), key=lambda item: (-item[1], item[0]))[:HEADS]]
    known = set(heads)
    table: dict[str, dict[str, int]] = {
        word: {"": 1 + described[word]}
        for word, count in sorted(words.items())
        if count >= MIN_WORD and word not in FUNCTION_WORDS
    }
    for (first, second), count in sorted(pairs.items()):
        if first in table and second in known and count >= MIN_PAIR:
            table[first][second] = count
    return CompositionConfig(heads=tuple(heads), pairs=table)


def _completed(composer: Composer, asked: Vectors, queries: Sequence[GradedQuery]) -> npt.NDArray[np.float64]:
    """The added words as phrases, or as they are where they need none: (queries, D)."""
    rows = []
    for vector, query in zip(asked, queries, strict=True):
        heads = composer.likely_heads(composer.head_fit(vector, [query.old]), query.new)
        rows.append(composer.complete(heads, query.new)[0])
    return np.stack(
        [composer.operand(query.new) if row is None else row for query, row in zip(queries, rows, strict=True)]
    )


def _choose_thing_weights(
    space: JointSpace, config: CompositionConfig, dev: CaptionDataset, images: Vectors, mentions: Mentions
) -> CompositionConfig:
    """Weigh the image and the removal where things are exchanged: by success and by what is kept."""
    swaps = answerable(space, find_exchanges(dev, (*KINDS, *SCENES)))
    if not swaps:
        return config
    asked = images[[swap.image for swap in swaps]]
    removed = space.embed_operands([swap.old for swap in swaps]).astype(np.float64)
    added = space.embed_operands([swap.new for swap in swaps]).astype(np.float64)
    merits = {}
    for weight, removal in product(_THING_WEIGHTS, _THING_REMOVALS):
        scores = score_answers(_unit(weight * asked + added - removal * removed), images, swaps, mentions)
        merits[weight, removal] = scores.success_at_1 + scores.success_at_10 + _KEEPING * scores.keeping_the_rest
    weight, removal = max(merits, key=lambda pair: merits[pair])
    return config.model_copy(update={"thing_image_weight": weight, "thing_removal": removal})


def _unit(rows: npt.NDArray[np.float64]) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
