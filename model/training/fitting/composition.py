"""Fit the rule of arithmetic (`model.compose.arithmetic`): counts from captions, weights by measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from model.bundle import CompositionConfig
from model.compose.arithmetic import Composer, LearnedComposition
from model.compose.attributes import VALUES
from model.content_words import FUNCTION_WORDS
from model.data.datasets import CaptionDataset
from model.evaluation.regularities import (
    KINDS,
    NO_NOUNS,
    SCENES,
    Mentions,
    Swap,
    SwapScores,
    answerable,
    find_exchanges,
    find_swaps,
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
TRIED = 5_000
"""About so many of the development queries decide."""
GOAL_AT_1, GOAL_AT_10 = 20.0, 50.0
"""What a rule should reach: typing the answer, as first measured."""

_TEMPERATURES = (0.1, 0.2)
_PUT = (0.4, 0.7, 1.0)
_PHRASES = (1, 2)
_LOOKS = (0.5, 1.0)
_IMAGE_WEIGHTS = (0.02, 0.05, 0.1, 0.2)
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
    """Heads, counts and what is learned of photographs from `train`, weights from the attribute swaps of `dev`.

    The vectors (n, D) are those of the photographs, in their order. Where the captions have no attributes, the rule
    stays a plain sum. `report(done, total)` counts the settings that were tried.
    """
    counted = count_phrases(train)
    swaps = answerable(space, find_swaps(dev))
    if not swaps or not counted.heads:
        plain = space.config.composition.model_copy(update={"heads": (), "pairs": {}})
        return plain, LearnedComposition.none(0, space.dimension)
    learned, taken = learn_composition(space, train, train_vectors, counted)
    counted = counted.model_copy(update={"taken": round(taken, 4)})
    swaps = swaps[:: -(-len(swaps) // TRIED)]
    mentions = Mentions(dev)
    asked = dev_vectors[[swap.image for swap in swaps]]  # (queries, D)
    answers = space.embed_texts([swap.answer for swap in swaps])
    typing = score_answers(answers, dev_vectors, swaps, mentions)
    composer = space.composer_with(counted, learned)
    settings = list(product(_TEMPERATURES, _PUT, _PHRASES, _LOOKS))
    best: tuple[float, CompositionConfig] | None = None
    for number, (temperature, put, phrases, looks) in enumerate(settings):
        values = {"temperature": temperature, "put": put, "phrases": phrases, "looks": looks}
        composer.config = counted.model_copy(update=values)  # what it remembers of phrases stays good
        completed = _completed(composer, asked, swaps)
        for image_weight in _IMAGE_WEIGHTS:
            queries = _unit(completed + image_weight * asked)
            merit = _merit(score_answers(queries, dev_vectors, swaps, mentions), typing)
            if best is None or merit > best[0]:
                # Taking the attribute away as well lost at every weight: the phrase says it already.
                weights = {"swap_image_weight": image_weight, "swap_removal": 0.0}
                best = merit, composer.config.model_copy(update=weights)
        report(number + 1, len(settings))
    if best is None:
        raise RuntimeError("there are no settings to try")
    return _choose_thing_weights(space, best[1], dev, dev_vectors, mentions), learned


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


def _completed(composer: Composer, asked: Vectors, swaps: list[Swap]) -> npt.NDArray[np.float64]:
    """The added words as phrases, or as they are where they need none: (queries, D)."""
    rows = []
    for vector, swap in zip(asked, swaps, strict=True):
        heads = composer.likely_heads(composer.head_fit(vector, [swap.old]), swap.new)
        rows.append(composer.complete(heads, swap.new)[0])
    return np.stack([composer.operand(swap.new) if row is None else row for swap, row in zip(swaps, rows, strict=True)])


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


def _merit(scores: SwapScores, typing: SwapScores) -> float:
    """Reach the goals, typing's success at 1, and keep clearly more than typing does; then be right among ten."""
    goals = (
        (scores.success_at_1, max(GOAL_AT_1, typing.success_at_1)),
        (scores.success_at_10, GOAL_AT_10),
        (scores.keeping_the_rest, max(1.05 * typing.keeping_the_rest, 1.0)),
    )
    return sum(min(reached / goal, 1.0) for reached, goal in goals) + 0.001 * scores.success_at_10


def _unit(rows: npt.NDArray[np.float64]) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
