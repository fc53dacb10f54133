"""Likelihood training of the structure-content language model.

The gap between the sentence vectors of training and the image vectors of use is closed in three ways, each a setting:
what is told of the image (`model.training.captioner.contents`) takes the place of the sentence's own vector in a share
of the cases, a random vector is added, and either kind is centred on its mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from model.captioner.scnlm import NO_TAG, RARE
from model.runtime.torch_scnlm import StructureContentModel
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.contents import Contents, unit
from model.training.captioner.data import IGNORED, CaptionSet, make_batch
from model.training.progress import Progress, Report
from model.training.run import TrainingRun, seed_step, seeded

CLIP_NORM = 5.0
CHUNK_BATCHES = 20
"""Batches whose captions are sorted by length together: less padding, still shuffled."""


def train_language(
    model: StructureContentModel,
    config: CaptionerTraining,
    captions: CaptionSet,
    tag_numbers: dict[str, int],
    contents: Contents,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train in place; the model holds the averaged weights afterwards. `checkpoint`: to resume from and to write to."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    steps_per_epoch = math.ceil(len(captions.words) / config.batch_captions)
    steps = config.epochs * steps_per_epoch
    texts = torch.from_numpy(captions.texts)
    owner = torch.from_numpy(captions.owner)
    run = TrainingRun(model.parameters(), optimizer, steps, config.average, checkpoint, CLIP_NORM)
    model.train()
    losses: list[float] = []
    order: list[list[int]] = []
    order_epoch = -1
    for step in range(run.finished, steps):
        epoch, place = divmod(step, steps_per_epoch)
        if epoch != order_epoch:
            order, order_epoch = _epoch_batches(captions, config, epoch), epoch
        generator = seed_step(config.seed, "language", step)
        batch = make_batch(captions, order[place], tag_numbers, config.structure_window)
        rows = len(batch.rows)
        of_image = torch.rand(rows, 1, generator=generator) < config.image_share
        content = torch.where(of_image, contents.photographs[owner[batch.rows]], texts[batch.rows] - contents.texts)
        content = with_noise(content, config.noise, generator)
        is_open = torch.rand(rows, 1, 1, generator=generator) < config.open_share
        windows = batch.windows.masked_fill(is_open, NO_TAG)
        hidden = torch.rand(batch.inputs.shape, generator=generator) < config.word_dropout
        hidden[:, 0] = False
        logits = model(batch.inputs.masked_fill(hidden, RARE), windows, content)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=config.label_smoothing,
        )
        run.step(loss)
        losses.append(loss.item())
        if run.finished % 20 == 0 or run.finished == steps:
            report(Progress("language model", run.finished, steps, _told(losses, step, steps_per_epoch)))
    run.finish()
    model.eval()


def _told(losses: Sequence[float], step: int, steps_per_epoch: int) -> str:
    """A line at the end of an epoch."""
    if (step + 1) % steps_per_epoch >= 20:
        return ""
    return f"epoch {round((step + 1) / steps_per_epoch)}: loss {np.mean(losses[-100:]):.3f}"


def with_noise(vectors: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Unit rows, plus a random vector of about this length, as unit rows (n, D)."""
    vectors = unit(vectors)
    if not noise:
        return vectors
    return unit(vectors + noise * unit(torch.randn(vectors.shape, generator=generator)))


def measure_perplexities(
    model: StructureContentModel, dev: CaptionSet, tag_numbers: dict[str, int], contents: Contents
) -> dict[str, float]:
    """Development perplexity given the image, and given the sentence's own vector."""
    given = {
        "image": contents.of(torch.from_numpy(dev.images))[torch.from_numpy(dev.owner)],
        "sentence": unit(torch.from_numpy(dev.texts) - contents.texts),
    }
    figures: dict[str, float] = {}
    for kind, content in given.items():
        figures[f"given_{kind}"] = _perplexity(model, dev, tag_numbers, content)
        figures[f"given_{kind}_without_structure"] = _perplexity(model, dev, tag_numbers, content, "structure")
    figures["without_content"] = _perplexity(model, dev, tag_numbers, given["image"], "content")
    return {name: round(value, 2) for name, value in figures.items()}


@torch.inference_mode()
def _perplexity(
    model: StructureContentModel,
    captions: CaptionSet,
    tag_numbers: dict[str, int],
    contents: Tensor,
    without: Literal["structure", "content"] | None = None,
) -> float:
    """Perplexity per word, ends included and rare words excluded, given each caption's content (m, D)."""
    total, count = 0.0, 0
    by_length = sorted(range(len(captions.words)), key=lambda row: len(captions.words[row]))
    for start in range(0, len(by_length), 256):
        batch = make_batch(captions, by_length[start : start + 256], tag_numbers, model.config.structure_window)
        content = contents[batch.rows]
        windows = batch.windows
        if without == "structure":
            windows = torch.zeros_like(windows)
        if without == "content":
            content = torch.zeros_like(content)
        logits = model(batch.inputs, windows, content)
        total += float(
            nn.functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
        )
        count += int((batch.targets != IGNORED).sum())
    return math.exp(total / max(1, count))


def _epoch_batches(captions: CaptionSet, config: CaptionerTraining, epoch: int) -> list[list[int]]:
    generator = seeded(config.seed, "epoch", epoch)
    order = torch.randperm(len(captions.words), generator=generator).tolist()
    chunk = CHUNK_BATCHES * config.batch_captions
    batches: list[list[int]] = []
    for start in range(0, len(order), chunk):
        by_length = sorted(order[start : start + chunk], key=lambda row: len(captions.words[row]))
        batches += [
            by_length[place : place + config.batch_captions]
            for place in range(0, len(by_length), config.batch_captions)
        ]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]
