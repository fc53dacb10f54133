"""Fitting the numbers of the rule of arithmetic (`model.composition`): counts from captions, weights by measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from model.bundle import CompositionConfig
from model.composition import Composer
from model.content_words import FUNCTION_WORDS
from model.datasets import CaptionDataset
from model.evaluation.regularities import (
    KINDS,
    NO_NOUNS,
    SCENES,
    VALUES,
    Mentions,
    Swap,
    SwapScores,
    answerable,
    find_exchanges,
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
_THING_WEIGHTS = (0.1, 0.3, 0.5, 0.7, 1.0)
_THING_REMOVALS = (0.0, 0.2, 0.5, 1.0)
_KEEPING = 4
"""What a percent of the rest counts against a percent of success, where things are exchanged."""


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
    swaps = answerable(space, find_swaps(dev))
    if not swaps or not counted.heads:
        return space.config.composition.model_copy(update={"heads": (), "pairs": {}})
    swaps = swaps[:: -(-len(swaps) // TRIED)]
    mentions = Mentions(dev)
    asked = image_vectors[[swap.image for swap in swaps]]  # (queries, D)
    answers = space.embed_texts([swap.answer for swap in swaps])
    typing = score_answers(answers, image_vectors, swaps, mentions)
    composer = space.composer_with(counted)
    fits = [composer.head_fit(vector, [swap.old]) for vector, swap in zip(asked, swaps, strict=True)]
    settings = list(product(_TEMPERATURES, _TAKEN, _PUT, _PHRASES))
    best: tuple[float, CompositionConfig] | None = None
    for number, (temperature, taken, put, phrases) in enumerate(settings):
        values = {"temperature": temperature, "taken": taken, "put": put, "phrases": phrases}
        composer.config = counted.model_copy(update=values)  # what it remembers of phrases stays good
        completed = _completed(composer, fits, swaps)
        for image_weight in _IMAGE_WEIGHTS:
            queries = _unit(completed + image_weight * asked)
            merit = _merit(score_answers(queries, image_vectors, swaps, mentions), typing)
            if best is None or merit > best[0]:
                # Taking the attribute away as well lost at every weight: the phrase says it already.
                weights = {"swap_image_weight": image_weight, "swap_removal": 0.0}
                best = merit, composer.config.model_copy(update=weights)
        report(number + 1, len(settings))
    if best is None:
        raise RuntimeError("there are no settings to try")
    return _choose_thing_weights(space, best[1], dev, image_vectors, mentions)


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


def _completed(composer: Composer, fits: list[npt.NDArray[np.float64]], swaps: list[Swap]) -> npt.NDArray[np.float64]:
    """The added words as phrases, or as they are where they need none: (queries, D)."""
    rows = [composer.complete(fit, swap.new, [swap.old])[0] for fit, swap in zip(fits, swaps, strict=True)]
    return np.stack([composer.operand(swap.new) if row is None else row for swap, row in zip(swaps, rows, strict=True)])


def _choose_thing_weights(
    space: JointSpace, config: CompositionConfig, dev: CaptionDataset, images: Vectors, mentions: Mentions
) -> CompositionConfig:
    """Weigh the image and the removal where things are exchanged: by success and by what is kept."""
    swaps = answerable(space, find_exchanges(dev, (*KINDS, *SCENES)))
    if not swaps:
        return config
    composer = space.composer_with(config)
    asked = images[[swap.image for swap in swaps]]
    removed = np.stack([composer.operand(swap.old) for swap in swaps])
    added = np.stack([composer.operand(swap.new) for swap in swaps])
    merits = {}
    for weight, removal in product(_THING_WEIGHTS, _THING_REMOVALS):
        scores = score_answers(_unit(weight * asked + added - removal * removed), images, swaps, mentions)
        merits[weight, removal] = scores.success_at_1 + scores.success_at_10 + _KEEPING * scores.keeping_the_rest
    weight, removal = max(merits, key=lambda pair: merits[pair])
    return config.model_copy(update={"thing_image_weight": weight, "thing_removal": removal})


def _merit(scores: SwapScores, typing: SwapScores) -> float:
    """Reach the goals, and keep clearly more of the picture than typing the answer does; beyond them, keep more."""
    goals = (
        (scores.success_at_1, GOAL_AT_1),
        (scores.success_at_10, GOAL_AT_10),
        (scores.keeping_the_rest, max(1.1 * typing.keeping_the_rest, 1.0)),
    )
    return sum(min(reached / goal, 1.0) for reached, goal in goals) + 0.001 * scores.keeping_the_rest


def _unit(rows: npt.NDArray[np.float64]) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
