"""The captioner's words, parts of speech and sentence structures: `structures.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from model.captioner.scnlm import END, END_TAG, SPECIAL_TAGS, SPECIAL_WORDS
from model.captioner.tagging import TagLexicon
from model.captioner.trigrams import Table, pack
from model.errors import EmptyTextError, StructureError
from model.words import tokenise

Mask = npt.NDArray[np.bool_]
LONGEST_STRUCTURE = 24
_FALLBACK, _RARE = "NN", 2
CONTENT_TAGS = ("NN", "VB", "JJ", "CD", "RB")
"""Beginnings of the tags of words that say something of their own."""


class Structure(BaseModel):
    """A sequence of tags, and how many training captions have it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tags: str
    count: int


class Structures(BaseModel):
    """What the captioner writes with: `words` by number, `tags` by number, structures by frequency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: list[str]
    tags: list[str]
    closing: list[int]
    """Words that a sentence can end with."""
    structures: list[Structure]
    lexicon: TagLexicon

    @classmethod
    def learn(
        cls, words: Sequence[str], tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], keep: int
    ) -> Self:
        """From tagged training captions the `keep` most frequent structures of 4 to 16 words, and the lexicon."""
        numbers = {word: number for number, word in enumerate(words)}
        last = Counter(sentence[-1] for sentence in tokens)
        used = Counter(word for sentence in tokens for word in sentence)
        closing = [numbers[word] for word, count in last.items() if word in numbers and count >= 0.03 * used[word]]
        shapes = Counter(" ".join(sentence) for sentence in tags if 4 <= len(sentence) <= 16)
        frequent = sorted(shapes.items(), key=lambda item: (-item[1], item[0]))[:keep]
        return cls(
            words=list(words),
            tags=[*SPECIAL_TAGS, *sorted({tag for sentence in tags for tag in sentence})],
            closing=sorted(closing),
            structures=[Structure(tags=shape, count=count) for shape, count in frequent],
            lexicon=TagLexicon.learn(tokens, tags),
        )

    def widened(
        self, words: Sequence[str], tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]
    ) -> Structures:
        """The same with more words, whose tags and places at the end are learned from more tagged captions."""
        known, numbers = set(self.tags), {word: number for number, word in enumerate(words)}
        fitting = [[tag if tag in known else _FALLBACK for tag in sentence] for sentence in tags]
        learned = Structures.learn(words, tokens, fitting, 1)
        used = Counter(word for sentence in tokens for word in sentence)
        lexicon = learned.lexicon
        untold = [word for word in words[len(SPECIAL_WORDS) :] if word not in lexicon.words]
        tagged = {word: own for word, own in lexicon.words.items() if word in numbers or used[word] > _RARE}
        return self.model_copy(
            update={
                "words": list(words),
                "closing": sorted({*self.closing, *learned.closing, *(numbers[word] for word in untold)}),
                "lexicon": lexicon.model_copy(
                    update={
                        "words": {**tagged, **{word: [_FALLBACK] for word in untold}},
                        "after": {word: own for word, own in lexicon.after.items() if word in numbers},
                    }
                ),
            }
        )

    def read(self, structure: str | Sequence[str]) -> list[str]:
        """The tags that an example sentence has, or a list of tags itself (as a string: all of its words are tags).

        Errors: `EmptyTextError`, `StructureError`.
        """
        known = set(self.tags[len(SPECIAL_TAGS) :])
        if isinstance(structure, str):
            parts = structure.split()
            tags = parts if parts and set(parts) <= known else self.lexicon.tag(tokenise(structure))
        else:
            tags = list(structure)
            if unknown := sorted(set(tags) - known):
                raise StructureError(
                    "structure_unknown",
                    f"There is no part of speech {', '.join(unknown)}. Known ones: {', '.join(sorted(known))}. "
                    "Or give an example sentence.",
                )
        if not tags:
            raise EmptyTextError
        if len(tags) > LONGEST_STRUCTURE:
            raise StructureError(
                "structure_too_long",
                f"The structure has {len(tags)} words; captions follow at most {LONGEST_STRUCTURE}. Shorten it.",
            )
        # A tag that the captions never had is nearest to one that begins alike (VBN, VB), or to a noun.
        return [tag if tag in known else _nearest(tag, known) for tag in tags]

    def tags_of(self, words: Sequence[int]) -> list[str]:
        """The tags of a sentence of word numbers."""
        return self.lexicon.tag([self.words[word] for word in words])

    def carries(self) -> Mask:
        """Where a word can carry a tag after another (tags, tags, V): [before, tag, word]; `END_TAG` before the first.

        It is just what `tags_of` says, so that a sentence written by it has the structure that was asked for.
        """
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        table = np.zeros((len(self.tags), len(self.tags), len(self.words)), dtype=np.bool_)
        for number, word in enumerate(self.words):
            if number < len(SPECIAL_WORDS):
                continue
            usual = numbers[self.lexicon.words[word][0]]
            table[:, usual, number] = True
            for before, tag in self.lexicon.after.get(word, {}).items():
                place = numbers[before] if before else END_TAG
                table[place, usual, number] = False
                table[place, numbers[tag], number] = True
        table[:, END_TAG, END] = True
        return table

    def clashes(self, frequencies: Table) -> dict[int, Mask]:
        """Where (V,) a word may not follow *a*, and *an*, by their numbers.

        What the training captions had more often after the other article does; so does a plural that none had after
        either. Words that stood after neither go by their first letter.
        """
        numbers = {word: number for number, word in enumerate(self.words)}
        if "a" not in numbers or "an" not in numbers:
            return {}
        followers = np.arange(len(self.words))
        counts = {
            word: frequencies[pack(np.stack([np.full_like(followers, numbers[word]), followers], axis=1))]
            for word in ("a", "an")
        }
        vowel = np.array([word[0] in "aeio" for word in self.words])
        plural = np.array([self.lexicon.words.get(word, [""])[0] == "NNS" for word in self.words])
        # Rare n-grams all count as one, so that a plural after an article has to be seen twice to be believed.
        plural &= (counts["a"] <= 1) & (counts["an"] <= 1)
        undecided = counts["a"] == counts["an"]
        after_a = (counts["an"] > counts["a"]) | (undecided & vowel) | plural
        after_an = (counts["a"] > counts["an"]) | (undecided & ~vowel) | plural
        return {numbers["a"]: after_a, numbers["an"]: after_an}

    def tagged(self, tag: str) -> Mask:
        """Where (V,) words usually have this tag."""
        return np.array([self.lexicon.words.get(word, [""])[0] == tag for word in self.words])

    def content_words(self) -> frozenset[int]:
        """Numbers of the words that say something of their own: nouns, verbs, adjectives, numbers, adverbs."""
        return frozenset(
            number
            for number, word in enumerate(self.words)
            if word in self.lexicon.words and self.lexicon.words[word][0].startswith(CONTENT_TAGS)
        )


def _nearest(tag: str, known: set[str]) -> str:
    alike = sorted(other for other in known if other[:2] == tag[:2])
    return alike[0] if alike else "NN"
