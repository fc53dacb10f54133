"""The concepts of images: the words nearest to each, as callers hand them in and ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from index.errors import InvalidFilter
from index.types import Concept, Concepts

MAX_FILTERS = 8
"""How many concepts one query may ask for; each is a join."""

_DECIMALS = 4


def checked_concepts(pairs: Sequence[tuple[str, float]]) -> Concepts:
    """Return the pairs, best first as they came, without repeats of a word."""
    best: dict[str, float] = {}
    for word, score in pairs:
        best.setdefault(word, round(float(score), _DECIMALS))
    return tuple(Concept(word, score) for word, score in best.items())


def checked_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a filter, sorted, without repeats; InvalidFilter."""
    unique = sorted(set(words))
    if len(unique) > MAX_FILTERS:
        raise InvalidFilter(f"A query may ask for at most {MAX_FILTERS} concepts.")
    try:
        "".join(unique).encode()
    except UnicodeEncodeError as error:
        raise InvalidFilter("A concept must be valid Unicode.") from error
    return tuple(unique)
