"""Writing sentences with the structure-content model: beam search and sampling, many at once.

A *slot* is one image with one structure (or an open one). All slots are decoded as one batch, word by word: the model
says how likely each word is, the grammar (`model.captioner.grammar`) which may be written, and the search keeps the
best. A beam of 1 is the MAP decoding of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.captioner.grammar import FORBIDDEN, FREE, Demands, Grammar, Numbers, Written
from model.captioner.scnlm import END, END_TAG, NO_TAG, START, LanguageModel, tag_windows
from model.runtime.interfaces import Vectors

_PARTS = 128
"""Parts of a row, when its largest values are looked for."""
_ALLOWED = np.nextafter(np.float32(FORBIDDEN), np.float32(0))
"""The least log-probability of what may be written."""
SCORE_BATCH = 128
"""Sentences that are scored at once: of about a length, and few enough for the processor's cache."""


@dataclass(frozen=True)
class Slot:
    """What one sentence is written from: a row of the contents, and tag numbers, or None for an open structure.

    With an open structure it may have an `opening`, its first words by number (or `ANY_DESCRIPTION`), and words to
    avoid behind it.
    """

    row: int
    structure: tuple[int, ...] | None = None
    opening: tuple[int, ...] = ()
    avoided: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """A sentence as word numbers, the slot it came from, and the log-probability of its words and its end."""

    slot: int
    words: tuple[int, ...]
    log_probability: float


Finished = list[tuple[float, tuple[int, ...], float]]
"""Sentences of a slot: mean log-probability, words, log-probability."""


class Decoder:
    """Writes with a model, as a grammar allows. Thread-safe."""

    def __init__(self, model: LanguageModel, grammar: Grammar) -> None:
        self.model = model
        self.grammar = grammar

    def beam(
        self, contents: Vectors, slots: Sequence[Slot], beam: int, keep: int, favoured: Vectors | None = None
    ) -> list[Candidate]:
        """The best finished sentences of every slot, up to `keep` each, by mean log-probability.

        `contents` (n, D): unit vectors. `favoured` (n, V): what the search adds to the log-probabilities of words for
        each row of the contents; those of the candidates are without it.
        """
        finished: list[Finished] = [[] for _ in slots]
        # Open structures apart, and the longest first: those that are done need no more steps.
        order = sorted(range(len(slots)), key=lambda number: -len(slots[number].structure or ()))
        for part in (
            [number for number in order if slots[number].structure is None],
            [number for number in order if slots[number].structure is not None],
        ):
            if part:
                searched = [slots[number] for number in part]
                self._search(contents, searched, beam, [finished[number] for number in part], favoured)
        found: list[Candidate] = []
        for number, sentences in enumerate(finished):
            sentences.sort(key=lambda sentence: (-sentence[0], sentence[1]))
            for _, words, total in sentences[:keep]:
                added = 0.0 if favoured is None else float(favoured[slots[number].row, list(words)].sum())
                found.append(Candidate(number, words, total - added))
        return found

    def _search(
        self,
        contents: Vectors,
        slots: Sequence[Slot],
        beam: int,
        finished: Sequence[Finished],
        favoured: Vectors | None,
    ) -> None:
        """Beam search for slots that are all open, or all of a structure and by falling length, into `finished`."""
        tags, windows = self._tags(slots)
        is_open = slots[0].structure is None
        lengths = np.array([len(slot.structure or ()) for slot in slots])
        rows = np.repeat([slot.row for slot in slots], beam)
        projected = self.model.project(contents)[rows]  # (G B, A)
        state = self.model.start(len(rows))
        scores = np.full((len(slots), beam), FORBIDDEN)
        scores[:, 0] = 0.0
        demands = self._demands(slots, beam) if is_open else None
        words = np.zeros((len(rows), 0), dtype=np.int64)
        for place in range(windows.shape[1]):
            groups = len(slots) if is_open else int((lengths >= place).sum())
            if groups < len(scores):  # the shortest structures are done
                scores, words, projected = scores[:groups], words[: groups * beam], projected[: groups * beam]
                state = tuple(part[: groups * beam] for part in state)
            written = Written(words, None if is_open else np.repeat(tags[:groups], beam, axis=0), demands)
            window = np.repeat(windows[:groups, place], beam, axis=0)
            log_p, state = self.model.step(written.last, window, projected, state)
            if favoured is not None:
                log_p += favoured[rows[: len(log_p)]]
            self.grammar.restrict(log_p, written)
            endings = scores + log_p[:, END].reshape(groups, beam)
            for group, one in zip(*np.nonzero(endings > FORBIDDEN), strict=True):
                total = float(endings[group, one])
                sentence = tuple(words[group * beam + one].tolist())
                finished[group].append((total / (place + 1), sentence, total))
            log_p[:, END] = FORBIDDEN
            choice, top = _largest(log_p, beam)  # a sentence has at most `beam` followers among the best
            best, scores = _largest((scores.reshape(-1, 1) + top).reshape(groups, -1), beam)
            if not (scores > FORBIDDEN).any():
                break
            parents = (best // beam + np.arange(groups)[:, None] * beam).ravel()
            chosen = np.take_along_axis(choice.reshape(groups, -1), best, axis=1).reshape(-1, 1)
            words = np.concatenate([words[parents], chosen], axis=1)
            state = tuple(part[parents] for part in state)

    def sample(
        self, contents: Vectors, slots: Sequence[Slot], temperature: float, generator: np.random.Generator
    ) -> list[Candidate]:
        """One sentence of every slot, drawn at random; those that do not come to an end are left out.

        Slots are all open, or all of a structure.
        """
        if not slots:
            return []
        tags, windows = self._tags(slots)
        is_open = slots[0].structure is None
        projected = self.model.project(contents)[[slot.row for slot in slots]]
        state = self.model.start(len(slots))
        words = np.zeros((len(slots), 0), dtype=np.int64)
        totals = np.zeros(len(slots))
        over = np.zeros(len(slots), dtype=np.bool_)  # at its end, or with no word that it could go on with
        dead = np.zeros_like(over)
        for place in range(windows.shape[1]):
            written = Written(words, None if is_open else tags)
            log_p, state = self.model.step(written.last, windows[:, place], projected, state)
            self.grammar.restrict(log_p, written)
            dead |= ~(log_p > FORBIDDEN).any(axis=1) & ~over
            over |= dead
            noise = np.maximum(generator.random(log_p.shape, dtype=np.float32), np.float32(1e-20))
            choice = np.where(
                over, END, (log_p / temperature - np.log(-np.log(noise))).argmax(axis=1)
            )  # Gumbel's trick
            totals += np.where(over, 0.0, log_p[np.arange(len(slots)), choice])
            words = np.concatenate([words, choice[:, None]], axis=1)
            over |= choice == END
            if over.all():
                break
        return [
            Candidate(number, tuple(sentence[: sentence.index(END)]), total)
            for number, (sentence, total, ok) in enumerate(
                zip(words.tolist(), totals.tolist(), (over & ~dead).tolist(), strict=True)
            )
            if ok
        ]

    def score(self, contents: Vectors, sentences: Sequence[Sequence[int]], rows: Sequence[int]) -> list[float]:
        """Log-probability of each sentence, its end included, given a row of the contents and no structure."""
        totals = np.zeros(len(sentences))
        projected = self.model.project(contents)
        longest_first = sorted(range(len(sentences)), key=lambda place: -len(sentences[place]))
        for start in range(0, len(sentences), SCORE_BATCH):
            places = longest_first[start : start + SCORE_BATCH]
            totals[places] = self._score([sentences[place] for place in places], projected[[rows[at] for at in places]])
        return [float(total) for total in totals]

    def _score(self, sentences: Sequence[Sequence[int]], projected: Vectors) -> Vectors:
        """Sentences by falling length, and the projected content of each (n, A), to log-probabilities (n,)."""
        lengths = np.array([len(sentence) for sentence in sentences])
        padded = np.full((len(sentences), int(lengths.max()) + 2), END)
        padded[:, 0] = START
        for row, sentence in enumerate(sentences):
            padded[row, 1 : len(sentence) + 1] = sentence
        window = np.full((len(sentences), self.model.config.structure_window), NO_TAG)
        totals = np.zeros(len(sentences), dtype=np.float32)
        state = self.model.start(len(sentences))
        for place in range(padded.shape[1] - 1):
            going = int((lengths >= place).sum())
            state = tuple(part[:going] for part in state)
            log_p, state = self.model.step(padded[:going, place], window[:going], projected[:going], state)
            totals[:going] += log_p[np.arange(going), padded[:going, place + 1]]
        return totals

    def _demands(self, slots: Sequence[Slot], beam: int) -> Demands | None:
        """What open slots ask for besides, for each of `beam` sentences; None where they ask for nothing."""
        if not any(slot.opening or slot.avoided for slot in slots):
            return None
        openings = np.full((len(slots), max(len(slot.opening) for slot in slots)), FREE)
        avoided = np.zeros((len(slots), self.model.config.words), dtype=np.bool_)
        for number, slot in enumerate(slots):
            openings[number, : len(slot.opening)] = slot.opening
            avoided[number, list(slot.avoided)] = True
        return Demands(np.repeat(openings, beam, axis=0), np.repeat(avoided, beam, axis=0))

    def _tags(self, slots: Sequence[Slot]) -> tuple[Numbers, Numbers]:
        """Tags (G, T + 1) of the slots' structures, `END_TAG` behind, and the windows of them (G, T + 1, k)."""
        is_open = [slot.structure is None for slot in slots]
        steps = max(self.grammar.longest if any(is_open) else 0, *(len(slot.structure or ()) for slot in slots), 0) + 1
        tags = np.full((len(slots), steps), END_TAG)
        for number, slot in enumerate(slots):
            if slot.structure:
                tags[number, : len(slot.structure)] = slot.structure
        windows = tag_windows(tags, self.model.config.structure_window)
        windows[is_open] = NO_TAG
        return tags, windows


def _largest(values: Vectors, k: int) -> tuple[Numbers, Vectors]:
    """The places of the k largest of each row (n, m), and their values, both (n, k), in no order.

    Each of the k largest is at least as large as the k-th largest of the maxima of k or more parts of the row. That
    leaves a few dozen of thousands to choose from, and maxima are found many times faster than a row is partitioned.
    """
    rows, count = values.shape
    if k >= count:
        return np.broadcast_to(np.arange(count), values.shape), values
    parts = max(k, _PARTS)
    if count < 4 * parts:
        return _partitioned(values, k)
    height = count // parts
    maxima = values[:, : height * parts].reshape(rows, height, parts).max(axis=1)
    least = np.partition(maxima, parts - k, axis=1)[:, parts - k]
    # Where fewer than k may be written, all that may: the rest of the k are forbidden, whichever they are.
    large = values >= np.maximum(least, _ALLOWED)[:, None]
    found, columns = np.divmod(np.flatnonzero(large), count)
    counts = np.bincount(found, minlength=rows)
    width = max(int(counts.max(initial=0)), k)
    places = np.zeros((rows, width), dtype=np.int64)
    candidates = np.full((rows, width), FORBIDDEN, dtype=values.dtype)
    within = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    places[found, within] = columns
    candidates[found, within] = values[found, columns]
    chosen, best = _partitioned(candidates, k)
    return np.take_along_axis(places, chosen, axis=1), best


def _partitioned(values: Vectors, k: int) -> tuple[Numbers, Vectors]:
    """As `_largest`, for short rows."""
    count = values.shape[1]
    places = np.argpartition(values, count - k, axis=1)[:, count - k :]
    return places, np.take_along_axis(values, places, axis=1)
