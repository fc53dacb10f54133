"""Naming what an image shows: the words nearest to it, as the library keeps them with each record."""

from __future__ import annotations

from app.embedding.cache import Vector
from model.space import JointSpace

CONCEPTS = 8
"""How many nearest words describe an image."""


def name_concepts(space: JointSpace, vectors: Vector) -> list[list[tuple[str, float]]]:
    """The words nearest to each of the vectors (n, D), best first, with their cosines."""
    return space.nearest_words(vectors, CONCEPTS)


def split_concepts(text: str | None) -> tuple[str, ...]:
    """The words of a filter such as `dog` or `dog,beach`, as the model writes them."""
    return tuple(word for part in (text or "").split(",") if (word := part.strip().lower()))
