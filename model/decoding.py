"""Writing sentences with the structure-content model: beam search and sampling, many at once.

A *slot* is one image with one structure (or an open one). All slots are decoded as one batch, word by word. A structure
is obeyed by construction: at each place only words that can carry the tag may be written, and the end comes with its
end. Never written: a rare or unknown word, a word twice in a row, an empty sentence. A beam of 1 is the MAP decoding of
the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.scnlm import END, END_TAG, NO_TAG, RARE, START, State, StructureContentModel, tag_windows

FORBIDDEN = float("-inf")
SCORE_BATCH = 128
"""Sentences that are scored at once: of a length, and few enough for their logits to stay in the processor's cache."""


@dataclass(frozen=True)
class Slot:
    """What one sentence is written from: a row of the contents, and tag numbers, or None for an open structure."""

    row: int
    structure: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Candidate:
    """A sentence as word numbers, the slot it came from, and the log-probability of its words and its end."""

    slot: int
    words: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True)
class Grammar:
    """Which words may be written.

    `carries` (tags, tags, V): true where a word has the second tag after a word with the first. `closing` (V,): true
    where a word may be the last of a sentence of open structure. `clashes`: by the number of a word, where (V,) a word
    may not follow it ("a orange", "an dog", "a bikes").
    """

    carries: Tensor
    closing: Tensor
    clashes: Mapping[int, Tensor]
    longest: int = 18
    shortest: int = 4


class Decoder:
    """A model made ready for writing: what depends on no sentence is computed once."""

    def __init__(self, model: StructureContentModel, grammar: Grammar) -> None:
        self.model = model
        self.grammar = grammar
        with torch.inference_mode():
            self._embeddings = model.embeddings()

    @torch.inference_mode()
    def beam(self, contents: Tensor, slots: Sequence[Slot], beam: int, keep: int) -> list[Candidate]:
        """The best finished sentences of every slot, up to `keep` each, by mean log-probability.

        `contents` (n, D): unit vectors.
        """
        finished: list[list[tuple[float, tuple[int, ...], float]]] = [[] for _ in slots]
        # Open structures apart, and the longest first: those that are done need no more steps.
        order = sorted(range(len(slots)), key=lambda number: -len(slots[number].structure or ()))
        for part in (
            [number for number in order if slots[number].structure is None],
            [number for number in order if slots[number].structure is not None],
        ):
            if part:
                self._search(contents, [slots[number] for number in part], beam, [finished[number] for number in part])
        found: list[Candidate] = []
        for number, sentences in enumerate(finished):
            sentences.sort(key=lambda sentence: (-sentence[0], sentence[1]))
            found += [Candidate(number, words, total) for _, words, total in sentences[:keep]]
        return found

    def _search(
        self,
        contents: Tensor,
        slots: Sequence[Slot],
        beam: int,
        finished: Sequence[list[tuple[float, tuple[int, ...], float]]],
    ) -> None:
        """Beam search for slots that are all open, or all of a structure and by falling length, into `finished`."""
        device = contents.device
        windows, lengths = self._windows(slots, device)
        rows = torch.tensor([slot.row for slot in slots], device=device).repeat_interleave(beam)
        projected = self.model.project(contents)[rows]  # (G B, A)
        state = self.model.start(len(rows))
        words = torch.full((len(rows),), START, dtype=torch.long, device=device)
        scores = torch.full((len(slots), beam), FORBIDDEN, device=device)
        scores[:, 0] = 0.0
        history = torch.zeros(len(slots), beam, 0, dtype=torch.long, device=device)
        for place in range(windows.shape[1]):
            groups = len(slots) if slots[0].structure is None else int((lengths >= place).sum())
            if groups < len(windows):  # the shortest structures are done
                windows, lengths, scores, history = (part[:groups] for part in (windows, lengths, scores, history))
                words, projected = words[: groups * beam], projected[: groups * beam]
                state = tuple(part[: groups * beam] for part in state)
            log_p, state = self._next(words, windows, projected, state, place, lengths, beam)
            endings = scores + log_p.view(groups, beam, -1)[:, :, END]
            if bool((endings > FORBIDDEN).any()):
                spelt = history.tolist()
                for group, one in (endings > FORBIDDEN).nonzero().tolist():
                    total = float(endings[group, one])
                    finished[group].append((total / (place + 1), tuple(spelt[group][one]), total))
            log_p[:, END] = FORBIDDEN
            top, choice = log_p.topk(beam, dim=1)  # a sentence has at most `beam` followers among the best
            scores, best = (scores.view(-1, 1) + top).view(groups, beam * beam).topk(beam, dim=1)
            if not bool((scores > FORBIDDEN).any()):
                break
            parents = (best // beam + torch.arange(groups, device=device)[:, None] * beam).flatten()
            words = choice.view(groups, beam * beam).gather(1, best).flatten()
            history = torch.cat([history.flatten(0, 1)[parents], words[:, None]], dim=1).view(groups, beam, -1)
            state = tuple(part[parents] for part in state)

    @torch.inference_mode()
    def sample(
        self, contents: Tensor, slots: Sequence[Slot], temperature: float, generator: torch.Generator
    ) -> list[Candidate]:
        """One sentence of every slot, drawn at random; those that do not come to an end are left out.

        `generator` lies on the CPU, so that a seed gives the same sentences on every device.
        """
        if not slots:
            return []
        device = contents.device
        windows, lengths = self._windows(slots, device)
        projected = self.model.project(contents)[torch.tensor([slot.row for slot in slots], device=device)]
        state = self.model.start(len(slots))
        words = torch.full((len(slots),), START, dtype=torch.long, device=device)
        totals = torch.zeros(len(slots), device=device)
        done = torch.zeros(len(slots), dtype=torch.bool, device=device)
        dead = torch.zeros_like(done)
        steps: list[Tensor] = []
        for place in range(windows.shape[1]):
            log_p, state = self._next(words, windows, projected, state, place, lengths, 1)
            dead |= ~(log_p > FORBIDDEN).any(dim=1) & ~done
            noise = torch.rand(log_p.shape, generator=generator).clamp_min(1e-20).to(device)
            choice = (log_p / temperature - (-noise.log()).log()).argmax(dim=1)  # Gumbel's trick
            words = torch.where(done | dead, torch.full_like(words, END), choice)
            gained = log_p.gather(1, words[:, None])[:, 0]
            totals += torch.where(done | dead, torch.zeros_like(gained), gained)
            steps.append(words)
            done |= words == END
            if bool((done | dead).all()):
                break
        sentences = torch.stack(steps, dim=1).tolist()
        return [
            Candidate(number, tuple(sentence[: sentence.index(END)]), total)
            for number, (sentence, total, ok) in enumerate(
                zip(sentences, totals.tolist(), (done & ~dead).tolist(), strict=True)
            )
            if ok
        ]

    @torch.inference_mode()
    def score(self, contents: Tensor, sentences: Sequence[Sequence[int]], rows: Sequence[int]) -> list[float]:
        """Log-probability of each sentence, its end included, given a row of the contents and no structure."""
        totals = [0.0] * len(sentences)
        by_length = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
        for start in range(0, len(by_length), SCORE_BATCH):
            places = by_length[start : start + SCORE_BATCH]
            scored = self._score(contents, [sentences[place] for place in places], [rows[place] for place in places])
            for place, total in zip(places, scored, strict=True):
                totals[place] = total
        return totals

    def _score(self, contents: Tensor, sentences: Sequence[Sequence[int]], rows: Sequence[int]) -> list[float]:
        length = max(len(sentence) for sentence in sentences) + 1
        padded = torch.tensor(
            [[START, *sentence] + [END] * (length - 1 - len(sentence)) for sentence in sentences],
            device=contents.device,
        )
        windows = torch.full((*padded.shape, self.model.config.structure_window), NO_TAG, device=contents.device)
        logits = self.model(padded, windows, contents[torch.tensor(rows, device=contents.device)])
        targets = torch.cat([padded[:, 1:], torch.full_like(padded[:, :1], END)], dim=1)
        log_p = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(dim=-1)
        places = torch.arange(length, device=contents.device)
        ends = torch.tensor([len(sentence) for sentence in sentences], device=contents.device)
        totals: list[float] = (log_p * (places <= ends[:, None])).sum(dim=1).tolist()
        return totals

    def _windows(self, slots: Sequence[Slot], device: torch.device) -> tuple[Tensor, Tensor]:
        """Tag windows (G, T + 1, k) of the slots, and the lengths (G,) of their structures, 0 where open."""
        lengths = [len(slot.structure or ()) for slot in slots]
        is_open = [slot.structure is None for slot in slots]
        steps = max(self.grammar.longest if any(is_open) else 0, *lengths) + 1
        tags = torch.full((len(slots), steps), END_TAG, dtype=torch.long)
        for number, slot in enumerate(slots):
            if slot.structure:
                tags[number, : lengths[number]] = torch.tensor(slot.structure)
        windows = tag_windows(tags, self.model.config.structure_window)
        windows[torch.tensor(is_open)] = NO_TAG
        return windows.to(device), torch.tensor(lengths, device=device)

    def _next(
        self, words: Tensor, windows: Tensor, projected: Tensor, state: State, place: int, lengths: Tensor, beam: int
    ) -> tuple[Tensor, State]:
        """Log-probabilities (G B, V) of what may come next, `FORBIDDEN` elsewhere, and the new state.

        Slots are all open, or all of a structure: `lengths` are all zero, or none is.
        """
        window = windows[:, place].repeat_interleave(beam, dim=0)
        logits, state = self.model.step(words, window, projected, state, self._embeddings)
        log_p = nn.functional.log_softmax(logits, dim=-1)
        log_p.scatter_(1, words[:, None], FORBIDDEN)  # never a word twice in a row
        for word, clashing in self.grammar.clashes.items():
            log_p.masked_fill_((words == word)[:, None] & clashing, FORBIDDEN)
        if int(lengths[0]):
            tags = windows[:, place, 0]
            before = windows[:, place - 1, 0] if place else torch.full_like(tags, END_TAG)
            allowed = self.grammar.carries[before, tags]  # (G, V): where the structure ends, only the end
            log_p = log_p.view(len(windows), beam, -1).masked_fill_(~allowed[:, None], FORBIDDEN).flatten(0, 1)
        else:
            log_p[:, [START, RARE]] = FORBIDDEN
            if place >= self.grammar.longest:
                log_p[:, END + 1 :] = FORBIDDEN
            may_end = self.grammar.closing[words] if place >= self.grammar.shortest else torch.zeros_like(words).bool()
            log_p[:, END].masked_fill_(~may_end, FORBIDDEN)
        return log_p, state
