"""What may be written: the constraints on a sentence, word by word.

All of them are here, and a new one belongs here: decoding asks `Grammar.restrict` at every word, and knows no rules of
its own. A structure is obeyed by construction: at each place only words that can carry the tag may be written, and the
end comes with its end. Never written: a rare or unknown word, a word twice in a row, an empty sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.captioner.scnlm import END, END_TAG, RARE, START

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
FORBIDDEN = np.float32("-inf")


ANY_DESCRIPTION, FREE = -1, -2
"""What an opening asks for at a place that is no word's number: any adjective, and anything."""


@dataclass(frozen=True)
class Demands:
    """What n sentences of open structure have to obey besides.

    `openings` (n, L): numbers of their first words, `ANY_DESCRIPTION`, or `FREE`. `avoided` (n, V): words that are not
    written. No word of the grammar's `once` is written twice, and there are at most `longest` words.
    """

    openings: Numbers
    avoided: Mask
    longest: int = 10


@dataclass(frozen=True)
class Written:
    """What is there of n sentences that are written side by side.

    `words` (n, place): all of their words so far. `tags` (n, T): those of their structures, `END_TAG` behind the last,
    T beyond `place`; None where structures are open, which may have `demands`.
    """

    words: Numbers
    tags: Numbers | None = None
    demands: Demands | None = None

    @property
    def place(self) -> int:
        """How many words there are: the number, from 0, of the one that comes next."""
        return int(self.words.shape[1])

    @property
    def last(self) -> Numbers:
        """The latest word of each (n,); `START` before the first."""
        return self.words[:, -1] if self.place else np.full(len(self.words), START)


@dataclass(frozen=True)
class Grammar:
    """Which words may be written.

    `carries` (tags, tags, V): true where a word has the second tag after a word with the first. `closing` (V,): true
    where a word may be the last of a sentence of open structure. `clashes`: by the number of a word, where (V,) a word
    may not follow it ("a orange", "an dog", "a bikes"). `descriptions` (V,): adjectives. `once` (V,): words that say
    something of their own. Sentences of open structure have from `shortest` to `longest` words.
    """

    carries: Mask
    closing: Mask
    clashes: Mapping[int, Mask]
    descriptions: Mask
    once: Mask
    longest: int = 18
    shortest: int = 4

    def restrict(self, log_p: npt.NDArray[np.float32], written: Written) -> None:
        """Set log P (n, V) of the next word to `FORBIDDEN`, in place, where a word may not be written."""
        last = written.last
        log_p[np.arange(len(last)), last] = FORBIDDEN  # never a word twice in a row
        for word, clashing in self.clashes.items():
            rows = np.flatnonzero(last == word)
            log_p[rows] = np.where(clashing, FORBIDDEN, log_p[rows])
        if written.tags is None:
            self._restrict_open(log_p, last, written.place)
            if written.demands is not None:
                self._restrict_to_demands(log_p, written.demands, written.words)
        else:
            self._restrict_to_structure(log_p, written.tags, written.place)

    def _restrict_to_structure(self, log_p: npt.NDArray[np.float32], tags: Numbers, place: int) -> None:
        before = tags[:, place - 1] if place else np.full(len(tags), END_TAG)
        allowed = self.carries[before, tags[:, place]]  # (n, V): where the structure ends, only the end
        np.copyto(log_p, FORBIDDEN, where=~allowed)

    def _restrict_open(self, log_p: npt.NDArray[np.float32], last: Numbers, place: int) -> None:
        log_p[:, [START, RARE]] = FORBIDDEN
        if place >= self.longest:
            log_p[:, END + 1 :] = FORBIDDEN
        may_end = self.closing[last] if place >= self.shortest else np.zeros(len(last), dtype=np.bool_)
        log_p[~may_end, END] = FORBIDDEN

    def _restrict_to_demands(self, log_p: npt.NDArray[np.float32], demands: Demands, words: Numbers) -> None:
        place = words.shape[1]
        avoided = demands.avoided.copy()
        np.put_along_axis(avoided, words, np.take_along_axis(avoided, words, axis=1) | self.once[words], axis=1)
        if place >= demands.longest:
            log_p[:, END + 1 :] = FORBIDDEN
        if place >= demands.openings.shape[1]:
            np.copyto(log_p, FORBIDDEN, where=avoided)
            return
        asked = demands.openings[:, place]
        told = np.flatnonzero(asked >= 0)
        others = np.ones((len(told), log_p.shape[1]), dtype=np.bool_)
        others[np.arange(len(told)), asked[told]] = False
        log_p[told] = np.where(others, FORBIDDEN, log_p[told])
        described = asked == ANY_DESCRIPTION
        log_p[described] = np.where(self.descriptions & ~avoided[described], log_p[described], FORBIDDEN)
        free = asked == FREE
        log_p[free] = np.where(avoided[free], FORBIDDEN, log_p[free])
