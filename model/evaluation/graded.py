"""*This photograph, but brown*: arithmetic measured by what people mean, the exchange and the rest of the photograph.

A query is a photograph, an attribute A that one of its captions says right before a noun, and another value B of the
same kind. Right is every other photograph whose captions say "B N", for any noun N of which the photograph's captions
say "A N". The gain of a right one is 0.2 + 0.8 x the share of the photograph's other content words, those that two of
its captions or more say, that its captions say as well. The measure is nDCG@10, averaged over the queries of each pair
(A, B), and then over the pairs, so that no phrase counts for hundreds.

Baselines: the photograph alone; typing "B N" with the noun that the photograph's captions say most often behind A; and
a mixture of the two, which is told the noun as well.

Source of the gains' form: graded relevance, Järvelin and Kekäläinen, "Cumulated gain-based evaluation" (2002).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt

from model.compose.arithmetic import Composer
from model.compose.attributes import ATTRIBUTES, VALUES
from model.content_words import content_words
from model.data.datasets import CaptionDataset
from model.evaluation.regularities import NO_NOUNS, ExchangeQuery, answerable
from model.space import JointSpace
from model.words import tokenise

Vectors = npt.NDArray[np.float32]

DEPTH = 10
"""Hits that count."""
RIGHT, REST = 0.2, 0.8
"""What a right photograph gains by itself, and for keeping all of the rest."""
MIXED = 0.3
"""Weight of the photograph against "B N" in the mixture of both."""
_DISCOUNTS = 1 / np.log2(np.arange(DEPTH) + 2)


@dataclass(frozen=True)
class GradedQuery(ExchangeQuery):
    """A query with the gains of the photographs that are right, by their rows."""

    gains: dict[int, float]


@dataclass(frozen=True)
class GradedReport:
    """nDCG@10 in percent, by the rule of arithmetic and by its baselines, on the same queries."""

    queries: int
    pairs: int
    arithmetic: float
    text_only: float
    image_only: float
    text_and_image: float

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)


def find_graded(dataset: CaptionDataset) -> list[GradedQuery]:
    """Every query of a captioned set that has an answer, in the order of its pairs of attributes."""
    said = [_described(item.captions) for item in dataset.items]
    words = [[content_words(caption) for caption in item.captions] for item in dataset.items]
    mentioned = [frozenset[str]().union(*own) for own in words]
    often = [
        frozenset(word for word, count in Counter(word for one in own for word in one).items() if count > 1)
        for own in words
    ]
    holders: dict[tuple[str, str], set[int]] = {}
    for row, own in enumerate(said):
        for phrase in own:
            holders.setdefault(phrase, set()).add(row)
    queries = []
    for group in ATTRIBUTES:
        for old, new in permutations(group, 2):
            for row, own in enumerate(said):
                nouns = {noun: count for (value, noun), count in own.items() if value == old}
                right = set[int]().union(*(holders.get((new, noun), set()) for noun in nouns)) - {row}
                if not right:
                    continue
                noun = min(nouns, key=lambda noun: (-nouns[noun], noun))
                rest = often[row] - content_words(" ".join((old, new, *nouns)))
                gains = {
                    other: RIGHT + REST * (len(rest & mentioned[other]) / len(rest) if rest else 0.0) for other in right
                }
                queries.append(GradedQuery(row, noun, old, new, gains))
    return queries


def _described(captions: Sequence[str]) -> Counter[tuple[str, str]]:
    """How many captions say an attribute right before a noun, by attribute and noun."""
    counts: Counter[tuple[str, str]] = Counter()
    for caption in captions:
        counts.update(
            {
                (first, second)
                for first, second in pairwise(tokenise(caption))
                if first in VALUES and second not in NO_NOUNS
            }
        )
    return counts


def ndcg(vectors: Vectors, images: Vectors, queries: Sequence[GradedQuery]) -> float:
    """nDCG@10 of query vectors (queries, D) over images (n, D), in percent: the mean over pairs of means."""
    by_pair: dict[tuple[str, str], list[float]] = {}
    for start in range(0, len(queries), 1024):
        batch = queries[start : start + 1024]
        scores = vectors[start : start + 1024] @ images.T
        scores[np.arange(len(batch)), [query.image for query in batch]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH].tolist()
        for query, nearest in zip(batch, order, strict=True):
            found = np.array([query.gains.get(row, 0.0) for row in nearest])
            best = np.array(sorted(query.gains.values(), reverse=True)[:DEPTH])
            value = float(found @ _DISCOUNTS[: len(found)] / (best @ _DISCOUNTS[: len(best)]))
            by_pair.setdefault((query.old, query.new), []).append(value)
    return 100 * float(np.mean([np.mean(values) for values in by_pair.values()]))


def evaluate_graded(
    space: JointSpace, images: Vectors, queries: Sequence[GradedQuery], composer: Composer | None = None
) -> GradedReport:
    """Answer every query over `images` (n, D), the vectors of the set's photographs in its order.

    Queries with a word that the model does not know are left out. `composer` is the rule to try, by default the
    bundle's. Errors: `ValueError` where there is no query.
    """
    queries = answerable(space, queries)
    if not queries:
        raise ValueError("the captions hold no attribute that could be exchanged")
    rule = composer or space.composer
    asked = images[[query.image for query in queries]]
    arithmetic = np.stack(
        [
            rule([(vector, 1.0, "image"), (query.old, -1.0, "text"), (query.new, 1.0, "text")]).vector
            for vector, query in zip(asked, queries, strict=True)
        ]
    )
    answers = sorted({query.answer for query in queries})
    vectors = dict(zip(answers, space.embed_texts(answers), strict=True))
    typed = np.stack([vectors[query.answer] for query in queries])
    return GradedReport(
        queries=len(queries),
        pairs=len({(query.old, query.new) for query in queries}),
        arithmetic=ndcg(arithmetic, images, queries),
        text_only=ndcg(typed, images, queries),
        image_only=ndcg(asked, images, queries),
        text_and_image=ndcg(typed + MIXED * asked, images, queries),
    )
