"""Captions as people read them."""

from __future__ import annotations

import pytest

from model.wording import as_sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a cat sits on a rug", "A cat sits on a rug."),
        ("an african elephant, in the snow", "An African elephant, in the snow."),
        ("a man in a t-shirt watches tv", "A man in a T-shirt watches TV."),
        ("Already written out.", "Already written out."),
        ("is it a dog?", "Is it a dog?"),
        ("two  dogs", "Two dogs."),
        ("1960s car", "1960s car."),
        ("écharpe rouge", "Écharpe rouge."),
        ("", ""),
    ],
)
def test_a_capital_and_a_full_stop(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence
    assert as_sentence(sentence) == sentence
