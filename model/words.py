"""Sentences to word numbers: the tokeniser and the vocabulary.

The tokeniser is deliberately plain (lower case, letters and digits, inner hyphens and apostrophes), because the
encoders are trained on exactly what it returns. A compound that the vocabulary lacks is looked up by its parts, so
*black-and-white* is known where *black*, *and* and *white* are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from model.errors import EmptyTextError, NoKnownWordsError

TOKENISER = "lower-1"
"""Name of the tokeniser that this module implements; a bundle states which one it was trained with."""

_TOKEN = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_JOINT = re.compile(r"[-']")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-"})


def tokenise(text: str) -> list[str]:
    """Split a sentence into lower-case words, without punctuation.

    Compatibility forms and typographic apostrophes are folded first, so text pasted from a document gives the same
    words as typed text.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    return _TOKEN.findall(text.lower())


class Vocabulary:
    """An ordered set of words; a word's number is its place in the list.

    Source on disk: `vocabulary.txt`, UTF-8, one word a line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) != len(self.words):
            raise ValueError("a vocabulary cannot hold a word twice")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read `vocabulary.txt`."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def write(self, path: Path) -> None:
        """Write `vocabulary.txt`."""
        path.write_text("".join(f"{word}\n" for word in self.words), encoding="utf-8")

    def number(self, word: str) -> int:
        """The number of a word of the vocabulary; `KeyError` for any other."""
        return self._numbers[word]

    def resolve(self, text: str) -> tuple[list[int], list[str]]:
        """The numbers of a sentence's known words, in order, and its unknown words, without repeats."""
        numbers: list[int] = []
        unknown: dict[str, None] = {}
        for token in tokenise(text):
            found = self._lookup(token)
            if found:
                numbers.extend(found)
            else:
                unknown[token] = None
        return numbers, list(unknown)

    def numbers(self, text: str) -> list[int]:
        """The numbers of a sentence's known words; never empty.

        Errors: `EmptyTextError` where there is no word at all, `NoKnownWordsError` where none is known.
        """
        numbers, unknown = self.resolve(text)
        if not numbers:
            raise NoKnownWordsError(text, unknown) if unknown else EmptyTextError(text)
        return numbers

    def _lookup(self, token: str) -> list[int]:
        if token in self._numbers:
            return [self._numbers[token]]
        plain = _without_accents(token)
        if plain in self._numbers:
            return [self._numbers[plain]]
        parts = [part for part in _JOINT.split(plain) if part]
        if len(parts) > 1 and parts[0] in self._numbers:
            # The part after an apostrophe is an ending ("dog's"): it may be unknown without harm.
            known = [self._numbers[part] for part in parts if part in self._numbers]
            if len(known) == len(parts) or "'" in plain:
                return known
        return []


def count_words(captions: Iterable[str]) -> dict[str, int]:
    """How often each word stands in the captions, most frequent first, equals in alphabetical order."""
    counts: dict[str, int] = {}
    for caption in captions:
        for word in tokenise(caption):
            counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _without_accents(token: str) -> str:
    decomposed = unicodedata.normalize("NFD", token)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def plural(noun: str) -> str:
    """The regular English plural of a noun or of the last word of several."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(?:s|x|z|ch|sh)$", noun) else f"{noun}s"
