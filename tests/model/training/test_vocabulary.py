"""The words that a bundle knows."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global choose_words
    from model.training.space.vocabulary import choose_words


def test_seen_words_come_first_then_names_then_frequent_words_and_things() -> None:
    vocabulary = choose_words(["dog", "xylograph"], ["great white shark", "dog sled"], 3000)
    assert vocabulary.words[:6] == ["dog", "xylograph", "great", "white", "shark", "sled"]
    assert len(vocabulary) == 3000
    assert "house" in vocabulary
    assert "because" in vocabulary


def test_what_must_be_known_is_known_whatever_the_size() -> None:
    assert choose_words(["dog"], ["cat"], 1).words == ["dog", "cat"]
