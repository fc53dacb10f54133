"""Hits that fit every operand of a query at once, instead of their sum.

A sum finds what is near to the operands on average, so it may find what is very near to one and far from another.
An intersection multiplies, for each operand, the probability that a record is relevant (or that it is not, for a
subtracted operand). Cosines cannot be compared in this way: an image is nearer to any image than a word is.
docs/arithmetic.md says what else was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.embedding.cache import Vector
from app.search.confidence import Confidence
from app.search.query_vector import Question
from app.search.results import Contribution, FoundHit, SearchOptions
from index import Hit, RankedCursor, fingerprint

DEPTH = 400
"""How many of the nearest to each operand are looked at; an answer has no more pages than these fill."""


@dataclass(frozen=True)
class Intersection:
    """A page of an intersection, best first, where it ends, and the confidence of the best record of all."""

    hits: list[FoundHit]
    next_cursor: str | None
    best_confidence: float | None


def intersect(
    parts: Sequence[Question],
    query: bytes,
    hits: Sequence[Hit],
    vectors: Vector,
    confidence: Confidence,
    options: SearchOptions,
) -> Intersection:
    """The page after `options.cursor` of candidates `hits` (n) with `vectors` (n, D).

    `parts` has each operand as a question of its own. A negative weight asks for records that do not fit it. `query`
    identifies the search, so that its cursors fit no other one. The score of a hit is the product of its probabilities.
    Its confidence is the lowest of them, because they are far from independent and their product is too low. Its
    explanation has the cosine with each operand. Problem calibration_missing for a bundle without a calibration;
    InvalidCursor.
    """
    identity = _identity(query, options)
    after = None if options.cursor is None else RankedCursor.decode(options.cursor, identity)
    if not hits:
        return Intersection([], None, None)
    # Row by row, so that the cosine of a record is the same to the last bit whatever else is there: cursors compare it.
    cosines = np.stack([np.einsum("nd,d->n", vectors, part.vector) for part in parts])  # (operands, n)
    probabilities = np.stack(
        [_probabilities(part, row, confidence, options) for part, row in zip(parts, cosines, strict=True)]
    )
    scores, lowest = probabilities.prod(axis=0), probabilities.min(axis=0)
    ranked = []
    for at in sorted(range(len(hits)), key=lambda at: (-scores[at], hits[at].record.id)):
        record, score, probability = hits[at].record, float(scores[at]), float(lowest[at])
        if score < (options.min_score or -1.0) or probability < (options.min_confidence or 0.0):
            continue
        if after is not None and (-score, record.id) <= (-after.score, after.id):
            continue
        explanation = _explanation(parts, cosines[:, at]) if options.explain else None
        ranked.append(FoundHit(record, score, probability, explanation))
    page = ranked[: options.k]
    more = len(ranked) > len(page)
    following = RankedCursor(page[-1].score, page[-1].record.id).encode(identity) if more else None
    return Intersection(page, following, float(lowest.max()))


def _probabilities(
    part: Question, cosines: NDArray[np.float32], confidence: Confidence, options: SearchOptions
) -> NDArray[np.float64]:
    """The probabilities (n,) that records with these cosines fit the operand, or do not if it is subtracted."""
    probabilities = confidence.of(part, options.target, cosines)
    if probabilities is None:
        raise confidence.missing("all=true")
    return probabilities if part.operands[0].weight > 0 else 1 - probabilities


def _explanation(parts: Sequence[Question], cosines: NDArray[np.float32]) -> tuple[Contribution, ...]:
    operands = [part.operands[0] for part in parts]
    return tuple(
        Contribution(one.name, one.weight, float(cosine)) for one, cosine in zip(operands, cosines, strict=True)
    )


def _identity(query: bytes, options: SearchOptions) -> bytes:
    chosen = (
        options.target,
        options.min_score,
        options.min_confidence,
        sorted(options.filters.items()),
        options.concepts,
        options.photo,
        options.include_query_items,
    )
    return fingerprint(query, repr(chosen))
