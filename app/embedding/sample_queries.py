"""Texts such as people search for, made of the words that the model knows best: for the index, not for people.

An index that is to find images for texts has to know where texts lie in the joint space. There is no log of what people
asked, and none is wanted; a handful of frequent words, some nouns among them, lies where their sentences lie.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.embedding.cache import Vector
from model.space import JointSpace

_COUNT = 768
_WORDS = 1500  # the most frequent ones
_LONGEST = 9
_BATCH = 64
_SEED = 1


def sample_texts(space: JointSpace) -> list[str]:
    """Some hundred texts of one to nine words, the same each time; none for a text tower without words of its own."""
    words = space.text.concepts().words[:_WORDS]
    if not len(words):
        return []
    random = np.random.default_rng(_SEED)
    share = 1 / (np.arange(len(words)) + 10.0)  # as words are distributed in captions
    share /= share.sum()
    return [
        " ".join(words[at] for at in random.choice(len(words), size=random.integers(1, _LONGEST + 1), p=share))
        for _ in range(_COUNT)
    ]


def sample_vectors(space: JointSpace) -> Iterator[Vector]:
    """Their vectors (n, D), in parts."""
    texts = sample_texts(space)
    for at in range(0, len(texts), _BATCH):
        yield space.embed_texts(texts[at : at + _BATCH])
