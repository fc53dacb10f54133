"""Words that say how a thing looks: what arithmetic exchanges most often."""

from __future__ import annotations

from model.words import tokenise

ATTRIBUTES: tuple[tuple[str, ...], ...] = (
    ("black", "white", "brown", "tan", "red", "blue", "green", "yellow", "orange", "pink", "purple"),
    ("small", "large", "big", "little"),
)
"""Values that may take each other's place."""
VALUES = frozenset(value for group in ATTRIBUTES for value in group)


def is_attribute(text: str) -> bool:
    """Whether a text is one of these words, and nothing else."""
    words = tokenise(text)
    return len(words) == 1 and words[0] in VALUES
