"""Tokeniser and vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import EmptyTextError, NoKnownWordsError
from model.words import Vocabulary, count_words, plural, tokenise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs.", ["a", "dog", "runs"]),
        ("T-shirt, black-and-white!", ["t-shirt", "black-and-white"]),
        ("the dog's ball", ["the", "dog's", "ball"]),
        ("the dog’s ball", ["the", "dog's", "ball"]),
        ("café  \n naïve", ["café", "naïve"]),
        ("ﬁre engine", ["fire", "engine"]),
        ("2 dogs & 10_cats", ["2", "dogs", "10", "cats"]),
        ("--- ... ''", []),
        ("", []),
    ],
)
def test_tokenise(text: str, words: list[str]) -> None:
    assert tokenise(text) == words


@given(st.text())
def test_tokens_are_lower_case_and_tokenise_to_themselves(text: str) -> None:
    for token in tokenise(text):
        assert token == token.lower()
        assert tokenise(token) == [token]


def test_resolve_finds_compounds_endings_and_accents_by_their_parts() -> None:
    vocabulary = Vocabulary(["dog", "t-shirt", "black", "and", "white", "cafe"])
    assert vocabulary.resolve("t-shirt") == ([1], [])
    assert vocabulary.resolve("black-and-white dog's café") == ([2, 3, 4, 0, 5], [])
    # One unknown part makes a compound unknown: half of it would say something else.
    assert vocabulary.resolve("black-eyed dog") == ([0], ["black-eyed"])


def test_unknown_words_are_told_once_and_in_order() -> None:
    vocabulary = Vocabulary(["dog"])
    assert vocabulary.resolve("zebra dog yak zebra") == ([0], ["zebra", "yak"])


def test_a_sentence_without_known_words_is_an_error() -> None:
    vocabulary = Vocabulary(["dog"])
    with pytest.raises(NoKnownWordsError) as caught:
        vocabulary.numbers("zebra yak")
    assert caught.value.unknown == ("zebra", "yak")
    with pytest.raises(EmptyTextError):
        vocabulary.numbers(" ?! ")


def test_a_vocabulary_survives_the_disk(tmp_path: Path) -> None:
    words = ["dog", "t-shirt", "über"]
    Vocabulary(words).write(tmp_path / "vocabulary.txt")
    assert Vocabulary.read(tmp_path / "vocabulary.txt").words == words


def test_a_word_cannot_stand_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["dog", "dog"])


def test_counts_are_sorted_by_frequency_then_alphabet() -> None:
    assert list(count_words(["b a c", "c b", "c"]).items()) == [("c", 3), ("b", 2), ("a", 1)]


def test_regular_plurals() -> None:
    nouns = {
        "zebra": "zebras",
        "school bus": "school buses",
        "strawberry": "strawberries",
        "toy": "toys",
        "fox": "foxes",
    }
    assert {noun: plural(noun) for noun in nouns} == nouns
