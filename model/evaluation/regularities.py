"""Multimodal linguistic regularities, counted: does *image - A + B* find the photograph with B in place of A?

For an image one of whose captions holds "A N" (an attribute right before a noun, say *black dog*), and another value B
of the same kind that stands before N elsewhere in the set, the query is `image - A + B`. It succeeds at k when, among
the first k images other than the query, one has a caption that holds "B N". Two baselines take the same queries: the
image alone, and the text "B N" alone. After Kiros et al. 2014, whose figure this puts into numbers.

Kinds and scenes are asked for in the same way, without a noun: of *image - dog + cat* the image's captions mention A
and not B, and the answer's captions mention B and not A.

*Keeping the rest* is the share of the query photograph's other content words (neither A, B nor N) that the captions of
the first answer mention as well, in percent, over all queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, permutations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model.compose.arithmetic import Composer
from model.compose.attributes import ATTRIBUTES, VALUES
from model.content_words import content_words
from model.data.datasets import CaptionDataset
from model.errors import DatasetError
from model.space import JointSpace
from model.words import tokenise

Vectors = npt.NDArray[np.float32]

KINDS: tuple[tuple[str, ...], ...] = (("dog", "cat"), ("man", "woman"), ("boy", "girl"))
SCENES: tuple[tuple[str, ...], ...] = (("day", "night"), ("grass", "snow", "water", "beach"))
NOUNS = 20
"""How many nouns are asked about: those that most images have with an attribute."""
NO_NOUNS = VALUES | frozenset(["a", "an", "and", "the", "with", "in", "on", "of", "at", "to", "is", "are", "by"])


@dataclass(frozen=True)
class ExchangeQuery:
    """A query `images[image] - old + new`; `noun` is empty for kinds and scenes."""

    image: int
    noun: str
    old: str
    new: str

    @property
    def answer(self) -> str:
        """What one would type instead."""
        return f"{self.new} {self.noun}".strip()


Q = TypeVar("Q", bound=ExchangeQuery)


@dataclass(frozen=True)
class Swap(ExchangeQuery):
    """A query that any of `targets` (rows of images) answers."""

    targets: frozenset[int]


@dataclass(frozen=True)
class SwapScores:
    """Share of queries, in percent, answered among the first 1 and the first 10, and what the first answer kept."""

    success_at_1: float
    success_at_10: float
    keeping_the_rest: float


@dataclass(frozen=True)
class RegularityReport:
    """Arithmetic beside its two baselines, on the same queries."""

    queries: int
    arithmetic: SwapScores
    image_only: SwapScores
    text_only: SwapScores

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)


def find_swaps(dataset: CaptionDataset) -> list[Swap]:
    """Every attribute query that a captioned set has an answer for, over its most frequent nouns."""
    holders: dict[tuple[str, str], set[int]] = {}  # (attribute, noun) to images
    for row, item in enumerate(dataset.items):
        for caption in item.captions:
            for first, second in pairwise(tokenise(caption)):
                if first in VALUES and second not in NO_NOUNS:
                    holders.setdefault((first, second), set()).add(row)
    by_noun: dict[str, set[int]] = {}
    for (_, noun), rows in holders.items():
        by_noun.setdefault(noun, set()).update(rows)
    nouns = sorted(by_noun, key=lambda noun: (-len(by_noun[noun]), noun))[:NOUNS]
    return [
        Swap(image, noun, old, new, frozenset(holders[new, noun]))
        for noun in nouns
        for group in ATTRIBUTES
        for old, new in permutations(group, 2)
        if (old, noun) in holders and (new, noun) in holders
        for image in sorted(holders[old, noun] - holders[new, noun])
    ]


def find_exchanges(dataset: CaptionDataset, groups: Sequence[Sequence[str]]) -> list[Swap]:
    """Every query that puts one word of a group in the place of another: kinds, or scenes."""
    mentioned = [frozenset(word for caption in item.captions for word in tokenise(caption)) for item in dataset.items]
    swaps = []
    for group in groups:
        for old, new in permutations(group, 2):
            with_new = frozenset(row for row, words in enumerate(mentioned) if new in words and old not in words)
            if with_new:
                swaps += [
                    Swap(row, "", old, new, with_new)
                    for row, words in enumerate(mentioned)
                    if old in words and new not in words
                ]
    return swaps


def answerable(space: JointSpace, queries: Sequence[Q]) -> list[Q]:
    """The queries of which the model knows every word; the others cannot be asked."""
    texts = {text for query in queries for text in (query.old, query.answer)}
    known = {text for text in texts if not space.unknown_words(text)}
    return [query for query in queries if query.old in known and query.answer in known]


def holds_phrase(caption: str, first: str, second: str) -> bool:
    """Whether a caption has the one word right before the other."""
    return (first, second) in pairwise(tokenise(caption))


class Mentions:
    """Which content words the captions of each photograph mention: what keeping the rest is measured by."""

    def __init__(self, dataset: CaptionDataset) -> None:
        words = [frozenset[str]().union(*map(content_words, item.captions)) for item in dataset.items]
        self._columns = {word: at for at, word in enumerate(sorted(frozenset[str]().union(*words)))}
        self._table = np.zeros((len(words), len(self._columns)), dtype=np.float32)
        for row, mentioned in enumerate(words):
            self._table[row, [self._columns[word] for word in mentioned]] = 1

    def kept(self, swaps: Sequence[Swap], answers: Sequence[int]) -> float:
        """Mean share, in percent, of each query's other content words that its answer (a row) mentions as well."""
        asked = self._table[[swap.image for swap in swaps]]
        for row, swap in enumerate(swaps):
            for word in content_words(f"{swap.old} {swap.new} {swap.noun}"):
                if word in self._columns:
                    asked[row, self._columns[word]] = 0
        shared = (asked * self._table[list(answers)]).sum(axis=1)
        return float(100 * np.mean(shared / np.maximum(asked.sum(axis=1), 1)))


def evaluate_regularities(
    space: JointSpace,
    images: Vectors,
    swaps: Sequence[Swap],
    mentions: Mentions,
    composer: Composer | None = None,
) -> RegularityReport:
    """Answer every query over `images` (n, D), the vectors of the set's photographs in its order.

    Queries with a word that the model does not know are left out. `composer` is the rule to try, by default the
    bundle's. Errors: `DatasetError` where there is no query.
    """
    swaps = answerable(space, swaps)
    if not swaps:
        raise DatasetError(
            "dataset_empty",
            "No photograph's captions hold an attribute (blue, small) whose exchange leads to another photograph. "
            "Measure on a larger set.",
        )
    rule = composer or space.composer
    arithmetic = np.stack(
        [
            rule([(images[swap.image], 1.0, "image"), (swap.old, -1.0, "text"), (swap.new, 1.0, "text")]).vector
            for swap in swaps
        ]
    )
    answers = sorted({swap.answer for swap in swaps})
    typed = dict(zip(answers, space.embed_texts(answers), strict=True))
    return RegularityReport(
        queries=len(swaps),
        arithmetic=score_answers(arithmetic, images, swaps, mentions),
        image_only=score_answers(images[[swap.image for swap in swaps]], images, swaps, mentions),
        text_only=score_answers(np.stack([typed[swap.answer] for swap in swaps]), images, swaps, mentions),
    )


def score_answers(queries: Vectors, images: Vectors, swaps: Sequence[Swap], mentions: Mentions) -> SwapScores:
    """How often the images nearest to the queries (queries, D) are right, and what the first of them keep."""
    found = {1: 0, 10: 0}
    first = []
    for start in range(0, len(swaps), 1024):
        batch = swaps[start : start + 1024]
        scores = queries[start : start + 1024] @ images.T
        scores[np.arange(len(batch)), [swap.image for swap in batch]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10].tolist()
        for swap, nearest in zip(batch, order, strict=True):
            first.append(nearest[0])
            for k in found:
                found[k] += not swap.targets.isdisjoint(nearest[:k])
    success = [100 * found[k] / len(swaps) for k in (1, 10)]
    return SwapScores(success[0], success[1], mentions.kept(swaps, first))
