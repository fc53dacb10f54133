"""Agreement of the words of a caption."""

from __future__ import annotations

import pytest

from model.captioner.agreement import disagrees

_NOUNS = """
ball basketball bike boy cat collar couple crowd dog field grass group helmet horse man mouth pool shirt stick swim
swimming water woman
"""
_PLURALS = """
balls bars dogs girls jumps men people pools rides shirts sunglasses trunks
"""
_TAGS = {
    "DT": ["a", "an", "another", "some", "the"],
    "CD": ["several", "three", "two"],
    "JJ": ["black", "little", "parallel", "red", "young"],
    "NNS": _PLURALS.split(),
    "NN": _NOUNS.split(),
    "VBZ": ["has", "is", "runs", "sits"],
    "VBP": ["are", "have"],
    "VBG": ["holding", "running", "standing", "wearing"],
    "PRP$": ["her", "his", "its", "their"],
}
_TAG_OF = {word: tag for tag, words in _TAGS.items() for word in words}


def _disagrees(sentence: str) -> bool:
    words = sentence.split()
    return disagrees(words, [_TAG_OF.get(word, "IN") for word in words])


@pytest.mark.parametrize(
    "sentence",
    [
        "a dogs runs",
        "a little parallel bars",
        "an red balls",
        "two dog in the grass",
        "two woman in a pool",
        "two people woman in a pool",
        "a man are standing in the water",
        "two dogs is running",
        "a woman wearing his helmet",
        "a boy in her shirt",
        "a man holding its helmet",
        "a cat sits in its mouth",
        "a dog runs in the grass with its mouth",
        "a dog runs through the grass in its mouth",
        "a black dog on its mouth",
        "a man holding a girl in his mouth",
        "a boy runs through the grass with a ball in its mouth",
        "a man and a black dog is holding a stick in his mouth",
        "a horse and the dog is running",
        "a boy with a sunglasses",
        "a boy in a swim trunks",
        "a cat on a basketball bars",
    ],
)
def test_what_does_not_agree(sentence: str) -> None:
    assert _disagrees(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "grass",
        "a dog runs",
        "a man rides a bike",
        "a dog jumps over the water",
        "two men are standing in a field",
        "two swimming pools",
        "a few people in the water",
        "a group of people are standing in a field",
        "a couple of dogs are running",
        "a man and a dog are running",
        "a man that has two dogs is running",
        "a man in sunglasses is standing",
        "a woman standing with a boy in his helmet",
        "a dog and a woman wearing her helmet",
        "a man with a horse and its collar",
        "a dog holding a stick in its mouth",
        "a dog runs through the water with stick in its mouth",
        "a dog runs with its mouth open",
        "two dogs with a ball in their mouth",
    ],
)
def test_what_agrees(sentence: str) -> None:
    assert not _disagrees(sentence)
