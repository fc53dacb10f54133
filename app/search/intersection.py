"""Hits that fit every operand of a query at once, instead of their sum.

A sum finds what is near to the operands on average, and so may find what is very near to one and far from another. An
intersection multiplies the chances that a record is right for each operand (that it is not, for what is subtracted).
Chances compare what cosines cannot: an image is nearer to any image than a word is. docs/arithmetic.md says what else
was tried.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cache import Vector
from app.results import Contribution, FoundHit, SearchOptions
from app.search.question import Asking, Question
from index import Hit, InvalidCursor, Page

DEPTH = 400
"""How many of the nearest to each operand are looked at; an answer has no more pages than these fill."""

Find = Callable[[Vector, int], Page[Hit]]
Read = Callable[[Sequence[Hit]], tuple[Sequence[Hit], Vector]]


@dataclass(frozen=True)
class Intersection:
    """All hits of an intersection, best first, and the cursor's place among them."""

    hits: list[FoundHit]
    next_cursor: str | None
    best_confidence: float | None


def intersect(asking: Asking, question: Question, options: SearchOptions, find: Find, read: Read) -> Intersection:
    """The page of `options.cursor`. `find` searches by a vector; `read` gives the vectors (n, D) of hits, and those
    hits that are still there.

    The score of a hit is the product of its chances, its confidence the lowest of them (as the chances are far from
    independent, their product is too low to be believed), and its explanation has the cosine with each operand.
    Problem calibration_missing for a bundle that tells no chances.
    """
    operands = asking.apart(question)
    found = {hit.record.id: hit for one in operands if one.weight > 0 for hit in find(one.vector, DEPTH).items}
    there, vectors = read([found[record_id] for record_id in sorted(found)])
    if not there:
        return Intersection([], None, None)
    cosines = np.stack([vectors @ one.vector for one in operands])  # (operands, n)
    chances = np.stack([_chances(asking, one, options, row) for one, row in zip(operands, cosines, strict=True)])
    scores, lowest = chances.prod(axis=0), chances.min(axis=0)
    hits = []
    for at in sorted(range(len(there)), key=lambda at: (-scores[at], there[at].record.id)):
        score, confidence = float(scores[at]), float(lowest[at])
        if score < (options.min_score or -1.0) or confidence < (options.min_confidence or 0.0):
            continue
        explanation = None
        if options.explain:
            explanation = tuple(
                Contribution(one.operands[0].name, one.weight, float(cosine))
                for one, cosine in zip(operands, cosines[:, at], strict=True)
            )
        hits.append(FoundHit(there[at].record, score, confidence, explanation))
    start = _start(question, options)
    end = start + options.k
    return Intersection(
        hits[start:end],
        _cursor(question, options, end) if end < len(hits) else None,
        float(lowest.max()),
    )


def _chances(asking: Asking, operand: Question, options: SearchOptions, cosines: Vector) -> NDArray[np.float64]:
    """The chances (n,) that records with these cosines do what the operand asks for."""
    chances = asking.chance(operand, options.target, cosines)
    if chances is None:
        raise asking.no_calibration("all=true")
    return chances if operand.weight > 0 else 1 - chances


def _identity(question: Question, options: SearchOptions) -> str:
    parts = (
        options.target,
        options.min_score,
        options.min_confidence,
        sorted(options.filters.items()),
        options.concepts,
    )
    return hashlib.sha256(question.vector.tobytes() + repr(parts).encode()).hexdigest()[:16]


def _cursor(question: Question, options: SearchOptions, start: int) -> str:
    text = json.dumps([_identity(question, options), start])
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _start(question: Question, options: SearchOptions) -> int:
    if options.cursor is None:
        return 0
    try:
        data = base64.b64decode(options.cursor.encode("ascii") + b"=" * (-len(options.cursor) % 4), altchars=b"-_")
        identity, start = json.loads(data)
        if identity == _identity(question, options) and isinstance(start, int) and start >= 0:
            return start
    except (ValueError, TypeError, RecursionError, binascii.Error):
        pass
    raise InvalidCursor
