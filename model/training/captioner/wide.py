"""A wider world for the language model: captions without photographs, and captions of the thousand kinds of things.

The stage that follows likelihood training on photographs. A step draws from three sources:

    photographs   captions of the training set, given the image's vector or their own, as before
    texts         captions without photographs, given their own vectors
    things        a kind of thing, a caption that names it (or names a broader kind, with the exact name put in its
                  place), given a mixture of the caption's vector and that of an image made of the kind
                  (`model.training.space.kinds`)

The softmax is over the words of the batch and a sample of the others, whose logits are raised by what the sample lacks
(sampled softmax: Jean et al. 2015): a vocabulary three times as large costs hardly more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.captioner.scnlm import NO_TAG, RARE
from model.runtime.torch_scnlm import StructureContentModel
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.contents import Contents, unit
from model.training.captioner.data import IGNORED, CaptionSet, make_batch
from model.training.captioner.likelihood import CLIP_NORM, with_noise
from model.training.captioner.texts import WideTexts
from model.training.captioner.thing_captions import ThingCaptions
from model.training.progress import Progress, Report
from model.training.run import TrainingRun, seed_step

MakeImages = Callable[[Tensor, torch.Generator], Tensor]
"""Kinds (n,) to unit vectors (n, D) of images made of them."""

SAMPLED_WORDS = 1000
LATE = 3 / 4
"""Share of the steps after which photographs count for more."""


@dataclass(frozen=True)
class Sources:
    """What the stage draws from; `things` and `make_images` where the image tower tells kinds."""

    photographs: CaptionSet
    texts: WideTexts
    things: ThingCaptions | None = None
    make_images: MakeImages | None = None


@dataclass(frozen=True)
class _Drawn:
    """A sentence of a batch: its words and tags, the row of its text's vector, and its kind, or -1."""

    tokens: list[str]
    tags: list[str]
    row: int
    kind: int


def train_wide(
    model: StructureContentModel,
    config: CaptionerTraining,
    sources: Sources,
    words: Sequence[str],
    tag_numbers: dict[str, int],
    contents: Contents,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train in place for `config.wide_steps`; `checkpoint`: to resume from and to write to."""
    captions, texts, steps = sources.photographs, sources.texts, config.wide_steps
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.wide_learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    run = TrainingRun(model.parameters(), optimizer, steps, config.average, checkpoint, CLIP_NORM)
    sentences = [*captions.tokens, *texts.tokens], [*captions.tags, *texts.tags]
    vectors = torch.from_numpy(np.concatenate([captions.texts.astype(np.float16), texts.vectors]))
    here = len(captions.tokens)
    # Captions of another set lie around another mean.
    centre = torch.from_numpy(texts.vectors.astype(np.float32).mean(axis=0)) if len(texts.tokens) else contents.texts
    owner = torch.from_numpy(captions.owner)
    numbers = {word: number for number, word in enumerate(words)}
    model.train()
    losses: list[float] = []
    for step in range(run.finished, steps):
        generator = seed_step(config.seed, "wide", step)
        late = int(step >= LATE * steps)
        drawn = _draw(config, generator.initial_seed(), late, sentences, here, sources.things)
        batch = make_batch(_as_set(drawn, numbers, captions), range(len(drawn)), tag_numbers, config.structure_window)
        rows, kinds = torch.tensor([one.row for one in drawn]), torch.tensor([one.kind for one in drawn])
        of_photograph = (rows < here) & (kinds < 0)
        content = unit(vectors[rows].float() - torch.where((rows < here)[:, None], contents.texts, centre))
        seen = of_photograph & (torch.rand(len(drawn), generator=generator) < config.wide_image_share[late])
        content[seen] = contents.photographs[owner[rows[seen]]]
        thing = kinds >= 0
        if sources.make_images is not None and bool(thing.any()):
            made = contents.of(sources.make_images(kinds[thing], generator))
            mixed = 0.1 + 0.6 * torch.rand(int(thing.sum()), 1, generator=generator)
            content[thing] = unit(mixed * content[thing] + (1 - mixed) * made)
        content = with_noise(content, config.noise, generator)
        is_open = torch.rand(len(drawn), 1, 1, generator=generator) < config.open_share
        hidden = torch.rand(batch.inputs.shape, generator=generator) < config.word_dropout
        hidden[:, 0] = False
        inputs = batch.inputs.masked_fill(hidden, RARE), batch.windows.masked_fill(is_open, NO_TAG), content
        loss = _sampled_loss(model, inputs, batch.targets, config.label_smoothing, generator)
        run.step(loss)
        losses.append(loss.item())
        if run.finished % 20 == 0 or run.finished == steps:
            told = f"loss {np.mean(losses[-100:]):.3f}" if run.finished % 200 == 0 else ""
            report(Progress("wider world", run.finished, steps, told))
    run.finish()
    model.eval()


def _as_set(drawn: Sequence[_Drawn], numbers: dict[str, int], like: CaptionSet) -> CaptionSet:
    return CaptionSet(
        [one.tokens for one in drawn],
        [[numbers.get(word, RARE) for word in one.tokens] for one in drawn],
        [one.tags for one in drawn],
        np.zeros(len(drawn), dtype=np.int64),
        like.images[:0],
        like.texts[:0],
    )


def _draw(
    config: CaptionerTraining,
    seed: int,
    late: int,
    sentences: tuple[list[list[str]], list[list[str]]],
    here: int,
    things: ThingCaptions | None,
) -> list[_Drawn]:
    """A batch of about one length: a third of three times as many, sorted by length."""
    chance = np.random.default_rng(seed)
    tokens, tags = sentences
    photographs = config.wide_photographs[late]
    drawn = []
    for _ in range(3 * config.batch_captions):
        source = (chance.random() - photographs) / (1 - photographs)
        if source >= 0 and source < 0.5 and things is not None and things.drawable:
            kind = things.drawable[int(chance.integers(len(things.drawable)))]
            row, sentence = things.draw(kind, chance)
        else:
            first, last = (0, here) if source < 0 or here == len(tokens) else (here, len(tokens))
            row, kind = int(chance.integers(first, last)), -1
            sentence = tokens[row], tags[row]
        drawn.append(_Drawn(*sentence, row, kind))
    drawn.sort(key=lambda one: len(one.tokens))
    part = int(chance.integers(3))
    return drawn[part * config.batch_captions :][: config.batch_captions]


def _sampled_loss(
    model: StructureContentModel,
    inputs: tuple[Tensor, Tensor, Tensor],
    targets: Tensor,
    smoothing: float,
    generator: torch.Generator,
) -> Tensor:
    """Cross-entropy over the targets' words and a sample of all others."""
    flat = targets.flatten()
    used = flat[flat != IGNORED].unique()
    rest = torch.ones(model.config.words, dtype=torch.bool)
    rest[used] = False
    others = rest.nonzero()[:, 0]
    sample = others[torch.randperm(len(others), generator=generator)[:SAMPLED_WORDS]]
    candidates = torch.cat([used, sample])
    raised = torch.zeros(len(candidates))
    if len(sample):
        raised[len(used) :] = math.log(len(others) / len(sample))
    places = torch.full((model.config.words,), IGNORED)
    places[used] = torch.arange(len(used))
    logits = model(*inputs, candidates) + raised
    wanted = torch.where(flat == IGNORED, flat, places[flat.clamp(min=0)])
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=IGNORED, label_smoothing=smoothing)
