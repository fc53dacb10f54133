"""Captions of kinds of things, out of a corpus: that name a kind, or a broader one with the exact name put in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from model.training.captioner.data import LONGEST
from model.training.fitting.kind_names import PLAIN, names_of_kinds
from model.words import plural, tokenise

Tagged = tuple[list[str], list[str]]
Place = tuple[int, int]
"""A caption's row, and where in it a name begins."""

FEWEST_OWN, MANY_OWN, FEWEST_BROADER = 5, 20, 20
"""Captions that name a kind exactly: from how many on they are used, and mostly; and those of a broader name."""
DONORS = ("vase", "clock", "laptop", "toy", "lamp", "bowl", "box", "suitcase", "hat", "sign", "cup", "phone")
"""Things whose captions a kind borrows that has neither captions of its own nor a broader name that does."""
_LONGEST_NAME = 3


def names_as_words(known: Callable[[str], bool]) -> list[tuple[str, ...]]:
    """Each kind's exact name as words; empty where one of them is unknown."""
    named = [tuple(tokenise(name)) for name in names_of_kinds()[0]]
    return [words if words and all(map(known, words)) else () for words in named]


class ThingCaptions:
    """Draws captions of kinds out of those of a corpus."""

    def __init__(
        self, tokens: Sequence[list[str]], tags: Sequence[list[str]], names: Sequence[tuple[str, ...]]
    ) -> None:
        self._tokens, self._tags, self._names = tokens, tags, names
        broader_names = names_of_kinds()[1]
        found = self._places(
            {
                *((word,) for broader in broader_names for word in broader),
                *((word,) for word in DONORS),
                *names,
                *(_several(name) for name in names if name),
            }
        )
        self._own: list[list[Place]] = []
        self._broader: list[list[tuple[str, list[Place]]]] = []
        for name, broader in zip(names, broader_names, strict=True):
            own = [*found[name], *found[_several(name)]] if name else []
            others = [(word, self._heads(found[(word,)])) for word in broader]
            others = [(word, places) for word, places in others if len(places) >= FEWEST_BROADER]
            if len(own) < FEWEST_OWN and not others:
                others = [(word, found[(word,)]) for word in DONORS if found[(word,)]]
            self._own.append(own if len(own) >= FEWEST_OWN else [])
            self._broader.append(others)
        self.drawable = [kind for kind in range(len(names)) if self._own[kind] or self._broader[kind]]

    def draw(self, kind: int, chance: np.random.Generator) -> tuple[int, Tagged]:
        """A caption of a kind: its row, and its words and tags."""
        own, broader = self._own[kind], self._broader[kind]
        if own and (not broader or chance.random() < (0.85 if len(own) >= MANY_OWN else 0.5)):
            row, _ = own[int(chance.integers(len(own)))]
            return row, (self._tokens[row], self._tags[row])
        nearest = len(broader) == 1 or chance.random() < 0.6
        word, places = broader[0 if nearest else int(chance.integers(len(broader)))]
        row, start = places[int(chance.integers(len(places)))]
        tokens, tags = self._tokens[row], self._tags[row]
        # People say what they say: half of the captions keep the broader name, and all where nobody is exact.
        if not self._names[kind] or word in PLAIN or (word not in DONORS and chance.random() < 0.5):
            return row, (tokens, tags)
        return row, _renamed(tokens, tags, start, self._names[kind])

    def _places(self, wanted: set[tuple[str, ...]]) -> defaultdict[tuple[str, ...], list[Place]]:
        found: defaultdict[tuple[str, ...], list[Place]] = defaultdict(list)
        for row, sentence in enumerate(self._tokens):
            for start in range(len(sentence)):
                for length in range(1, min(_LONGEST_NAME, len(sentence) - start) + 1):
                    words = tuple(sentence[start : start + length])
                    if words in wanted:
                        found[words].append((row, start))
        return found

    def _heads(self, places: list[Place]) -> list[Place]:
        """Places where a word stands by itself, not before another noun."""
        return [
            (row, start)
            for row, start in places
            if start + 1 == len(self._tokens[row]) or not self._tags[row][start + 1].startswith("NN")
        ]


def _several(name: tuple[str, ...]) -> tuple[str, ...]:
    return (*name[:-1], plural(name[-1]))


def _renamed(tokens: list[str], tags: list[str], start: int, name: tuple[str, ...]) -> Tagged:
    """A caption with another name in the place of a word, and the article that goes with it."""
    before = list(tokens[:start])
    if before and before[-1] in ("a", "an"):
        before[-1] = "an" if name[0][0] in "aeio" else "a"
    renamed = [*before, *name, *tokens[start + 1 :]]
    return renamed[:LONGEST], [*tags[:start], *["NN"] * len(name), *tags[start + 1 :]][:LONGEST]
