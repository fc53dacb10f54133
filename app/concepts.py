"""Naming what an image shows: words with their probabilities, as the library keeps them with each record."""

from __future__ import annotations

from app.embedding.cache import Vector
from model.space import JointSpace

CONCEPTS = 8
"""How many words describe an image, at most."""


def name_concepts(space: JointSpace, vectors: Vector) -> list[list[tuple[str, float]]]:
    """Words for what each of the vectors (n, D) shows, best first, with their probabilities."""
    return space.name_concepts(vectors, CONCEPTS)


def split_concepts(text: str | None) -> tuple[str, ...]:
    """The words of a filter such as `dog` or `dog,beach`, as the model writes them."""
    return tuple(word for part in (text or "").split(",") if (word := part.strip().lower()))
