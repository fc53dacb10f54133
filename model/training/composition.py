"""Fitting the numbers of the rule of arithmetic (`model.composition`): counts from captions, weights by measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from model.bundle import CompositionConfig
from model.content_words import FUNCTION_WORDS
from model.datasets import CaptionDataset
from model.evaluation.regularities import (
    NO_NOUNS,
    VALUES,
    Mentions,
    Swap,
    SwapScores,
    find_swaps,
    score_answers,
)
from model.space import JointSpace
from model.words import tokenise

Vectors = npt.NDArray[np.float32]

HEADS = 200
MIN_PAIR = 3
"""Pairs of words that stand in fewer captions are left out of the bundle."""
MIN_WORD = 20
TRIED = 1_600
"""About so many of the development queries decide."""
GOAL_AT_1, GOAL_AT_10 = 20.0, 48.0
"""What a rule should reach before keeping the rest of the picture counts: typing the answer, as first measured."""

_TEMPERATURES = (0.05, 0.07, 0.1)
_TAKEN = (0.5, 1.0)
_PUT = (0.3, 0.7, 1.0)
_PHRASES = (1, 2, 4)
_IMAGE_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_REMOVALS = (0.0, 0.1, 0.2)


def fit_composition(
    space: JointSpace,
    train: CaptionDataset,
    dev: CaptionDataset,
    image_vectors: Vectors,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> CompositionConfig:
    """Heads and counts from the captions of `train`, weights from the attribute swaps of `dev`.

    `image_vectors` (n, D) are those of dev's photographs, in its order. Where its captions have no attributes, the rule
    stays a plain sum. `report(done, total)` counts the settings that were tried.
    """
    counted = count_phrases(train)
    swaps = find_swaps(dev)
    if not swaps or not counted.heads:
        return space.config.composition.model_copy(update={"heads": (), "pairs": {}})
    swaps = swaps[:: -(-len(swaps) // TRIED)]
    mentions = Mentions(dev)
    asked = image_vectors[[swap.image for swap in swaps]]  # (queries, D)
    removed = np.stack([space.embed_operands([swap.old])[0] for swap in swaps])
    composer = space.composer_with(counted)
    fits = [composer.head_fit(vector, [swap.old]) for vector, swap in zip(asked, swaps, strict=True)]
    settings = list(product(_TEMPERATURES, _TAKEN, _PUT, _PHRASES))
    best: tuple[float, CompositionConfig] | None = None
    for number, (temperature, taken, put, phrases) in enumerate(settings):
        values = {"temperature": temperature, "taken": taken, "put": put, "phrases": phrases}
        composer.config = counted.model_copy(update=values)  # what it remembers of phrases stays good
        completed = np.stack(
            [composer.complete(fit, swap.new, [swap.old]) for fit, swap in zip(fits, swaps, strict=True)]
        )
        for image_weight in _IMAGE_WEIGHTS:
            queries = _unit(completed + image_weight * asked)
            merit = _merit(score_answers(queries, image_vectors, swaps, mentions))
            if best is None or merit > best[0]:
                weights = {"swap_image_weight": image_weight, "swap_removal": 0.0}
                best = merit, composer.config.model_copy(update=weights)
        report(number + 1, len(settings))
    if best is None:
        raise RuntimeError("there are no settings to try")
    return _choose_removal(space, best[1], image_vectors, swaps, mentions, fits, asked, removed)


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
        if first in VALUES and second not in NO_NOUNS:
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


def _choose_removal(
    space: JointSpace,
    config: CompositionConfig,
    images: Vectors,
    swaps: list[Swap],
    mentions: Mentions,
    fits: list[npt.NDArray[np.float64]],
    asked: Vectors,
    removed: Vectors,
) -> CompositionConfig:
    composer = space.composer_with(config)
    completed = np.stack([composer.complete(fit, swap.new, [swap.old]) for fit, swap in zip(fits, swaps, strict=True)])
    kept = completed + config.swap_image_weight * asked
    merits = {
        removal: _merit(score_answers(_unit(kept - removal * removed), images, swaps, mentions))
        for removal in _REMOVALS
    }
    return config.model_copy(update={"swap_removal": max(merits, key=lambda removal: merits[removal])})


def _merit(scores: SwapScores) -> float:
    """Reach both goals first; beyond them it counts what the first answer keeps of the picture."""
    reached = min(scores.success_at_1 / GOAL_AT_1, 1.0) + min(scores.success_at_10 / GOAL_AT_10, 1.0)
    return reached + 0.01 * scores.keeping_the_rest


def _unit(rows: npt.NDArray[np.float64]) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
