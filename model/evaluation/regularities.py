"""Multimodal linguistic regularities, counted: does *image - A + B* find the photograph with B in place of A?

For an image one of whose captions holds "A N" (an attribute right before a noun, say *black dog*), and another value B
of the same kind that stands before N elsewhere in the set, the query is `image - A + B`. It succeeds at k when, among
the first k images other than the query, one has a caption that holds "B N". Two baselines take the same queries: the
image alone, and the text "B N" alone. After Kiros et al. 2014, whose figure this puts into numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from model.datasets import CaptionDataset
from model.space import JointSpace
from model.words import tokenise

Vectors = npt.NDArray[np.float32]

ATTRIBUTES: tuple[tuple[str, ...], ...] = (
    ("black", "white", "brown", "tan", "red", "blue", "green", "yellow", "orange", "pink", "purple"),
    ("small", "large", "big", "little"),
)
"""Values that may take each other's place."""
NOUNS = 20
"""How many nouns are asked about: those that most images have with an attribute."""
VALUES = frozenset(value for group in ATTRIBUTES for value in group)
NO_NOUNS = VALUES | frozenset(["a", "an", "and", "the", "with", "in", "on", "of", "at", "to", "is", "are", "by"])


@dataclass(frozen=True)
class Swap:
    """One query: `images[image] - old + new`; any of `targets` (rows of images) answers it."""

    image: int
    noun: str
    old: str
    new: str
    targets: frozenset[int]


@dataclass(frozen=True)
class SwapScores:
    """Share of queries, in percent, that were answered among the first 1 and the first 10."""

    success_at_1: float
    success_at_10: float


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
    """Every query that a captioned set has an answer for, over its most frequent nouns."""
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
        for old in group
        for new in group
        if old != new and (old, noun) in holders and (new, noun) in holders
        for image in sorted(holders[old, noun] - holders[new, noun])
    ]


def holds_phrase(caption: str, first: str, second: str) -> bool:
    """Whether a caption has the one word right before the other."""
    return (first, second) in pairwise(tokenise(caption))


def evaluate_regularities(
    space: JointSpace, images: Vectors, swaps: Sequence[Swap], image_factor: float = 1.0
) -> RegularityReport:
    """Answer every query over `images` (n, D), the vectors of the set's photographs in its order.

    `image_factor` is one more weight of the image beside the bundle's own, for fitting that one. Errors: `ValueError`
    where there is no query.
    """
    if not swaps:
        raise ValueError("the captions hold no attribute that could be swapped")
    arithmetic = np.stack(
        [
            space.compose(
                [(images[swap.image], image_factor, "image"), (swap.old, -1.0, "text"), (swap.new, 1.0, "text")]
            )
            for swap in swaps
        ]
    )
    return RegularityReport(
        queries=len(swaps),
        arithmetic=_score(arithmetic, images, swaps),
        image_only=_score(images[[swap.image for swap in swaps]], images, swaps),
        text_only=_score(space.embed_operands([f"{swap.new} {swap.noun}" for swap in swaps]), images, swaps),
    )


def _score(queries: Vectors, images: Vectors, swaps: Sequence[Swap]) -> SwapScores:
    found = {1: 0, 10: 0}
    scores = queries @ images.T  # (queries, n)
    for row, swap in enumerate(swaps):
        scores[row, swap.image] = -np.inf
        order = np.argsort(-scores[row], kind="stable")[:10].tolist()
        for k in found:
            found[k] += not swap.targets.isdisjoint(order[:k])
    return SwapScores(*(100 * found[k] / len(swaps) for k in (1, 10)))
