"""Parts of speech in training and in service."""

from __future__ import annotations

import pytest

from model.captioner.scnlm import SPECIAL_WORDS
from model.captioner.structures import Structures
from model.captioner.tagging import TagLexicon, agreement, tag_captions
from model.captioner.trigrams import document_frequencies
from model.errors import EmptyTextError, StructureError

SENTENCES = [
    "a man is riding a horse",
    "a man rides a brown horse",
    "two dogs are running on the grass",
    "the dog runs after a red ball",
    "a woman in a blue coat is walking",
]
TOKENS = [sentence.split() for sentence in SENTENCES]


def test_the_tagger_needs_no_corpus() -> None:
    [tags] = tag_captions([TOKENS[0]])
    assert tags == ["DT", "NN", "VBZ", "VBG", "DT", "NN"]


def test_the_lexicon_agrees_with_the_tagger() -> None:
    tags = tag_captions(TOKENS)
    assert agreement(TagLexicon.learn(TOKENS, tags), TOKENS, tags) >= 0.95


def test_the_tag_before_decides_between_two() -> None:
    sentences = [["a", "walk"], ["a", "walk"], ["they", "walk"], ["they", "walk"], ["they", "walk"]]
    tags = [["DT", "NN"], ["DT", "NN"], ["PRP", "VB"], ["PRP", "VB"], ["PRP", "VB"]]
    lexicon = TagLexicon.learn(sentences, tags)
    assert lexicon.tag(["a", "walk"]) == ["DT", "NN"]
    assert lexicon.tag(["they", "walk"]) == ["PRP", "VB"]


def test_unknown_words_are_tagged_by_their_ending() -> None:
    words = [[word] for word in ("running", "walking", "jumping", "horse")]
    lexicon = TagLexicon.learn(words, [["VBG"], ["VBG"], ["VBG"], ["NN"]])
    assert lexicon.tag(["zorbing", "7", "qqq"]) == ["VBG", "CD", "NN"]


def structures() -> Structures:
    tokens = TOKENS
    words = [*SPECIAL_WORDS, *sorted({word for sentence in tokens for word in sentence})]
    return Structures.learn(words, tokens, tag_captions(tokens), keep=10)


def test_structures_by_example_and_by_tags() -> None:
    known = structures()
    assert known.read("A man is riding a horse.") == ["DT", "NN", "VBZ", "VBG", "DT", "NN"]
    assert known.read("DT NN VBZ") == known.read(["DT", "NN", "VBZ"]) == ["DT", "NN", "VBZ"]
    assert len(known.read("a wug is zorbing")) == 4, "words that nobody knows have parts of speech too"
    with pytest.raises(StructureError, match="Known ones"):
        known.read(["DT", "XYZ"])
    with pytest.raises(StructureError, match="at most"):
        known.read("a dog " * 30)
    with pytest.raises(EmptyTextError):
        known.read("!!!")


def test_articles_agree_with_what_follows() -> None:
    tokens = [sentence.split() for sentence in ("a dog and an egg", "an hour", "an hour", "a unicycle", "a unicycle")]
    tokens += [["two", "bikes"], ["two", "onions"]]
    words = [*SPECIAL_WORDS, *sorted({word for sentence in tokens for word in sentence})]
    numbers = {word: number for number, word in enumerate(words)}
    known = Structures.learn(words, tokens, tag_captions(tokens), keep=10)
    frequencies = document_frequencies([[[numbers[word] for word in sentence]] for sentence in tokens])
    clashes = known.clashes(frequencies)
    after = {
        article: {word for word in words[len(SPECIAL_WORDS) :] if not clashes[numbers[article]][numbers[word]]}
        for article in ("a", "an")
    }
    assert {"dog", "unicycle"} <= after["a"]
    assert {"egg", "hour"} <= after["an"]
    assert not after["a"] & after["an"]
    assert not {"bikes", "onions"} & (after["a"] | after["an"])


def test_which_words_carry_a_tag_is_what_the_lexicon_says() -> None:
    known = structures()
    table = known.carries()
    numbers = {tag: number for number, tag in enumerate(known.tags)}
    for sentence in TOKENS:
        before = 1
        for word, tag in zip(sentence, known.lexicon.tag(sentence), strict=True):
            assert table[before, numbers[tag], known.words.index(word)]
            before = numbers[tag]
