"""Likelihood training of the structure-content language model; resumable at any step.

Every step seeds its own random numbers, as in `space/stage.py`, so that a run that was stopped takes the same steps.
The gap between the sentence vectors of training and the image vectors of use is closed in three ways, each a setting:
the image's own vector takes the place of the sentence's in a share of the cases, a random vector is added, and either
kind is centred on its mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from model.scnlm import NO_TAG, RARE, StructureContentModel
from model.training.captioner.config import CaptionerTraining
from model.training.captioner.data import IGNORED, CaptionSet, make_batch
from model.training.checkpoint import AveragedRun
from model.training.space.stage import Progress, Report, rate_factor, seeded

CLIP_NORM = 5.0
CHUNK_BATCHES = 20
"""Batches whose captions are sorted by length together: less padding, still shuffled."""


@dataclass(frozen=True)
class Centres:
    """Means (D,) of the image vectors and of the sentence vectors of training."""

    images: Tensor
    texts: Tensor


def train_language(
    model: StructureContentModel,
    config: CaptionerTraining,
    captions: CaptionSet,
    tag_numbers: dict[str, int],
    centres: Centres,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train in place; the model holds the averaged weights afterwards. `checkpoint`: to resume from and to write to."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), weight_decay=config.weight_decay, betas=(0.9, 0.98))
    steps_per_epoch = math.ceil(len(captions.words) / config.batch_captions)
    steps = config.epochs * steps_per_epoch
    images, texts = torch.from_numpy(captions.images), torch.from_numpy(captions.texts)
    owner = torch.from_numpy(captions.owner)
    run = AveragedRun(model, parameters, optimizer, checkpoint)
    start = run.resume()
    model.train()
    losses: list[float] = []
    order: list[list[int]] = []
    order_epoch = -1
    for step in range(start, steps):
        epoch, place = divmod(step, steps_per_epoch)
        if epoch != order_epoch:
            order, order_epoch = _epoch_batches(captions, config, epoch), epoch
        generator = seeded(config.seed, "language", step)
        torch.manual_seed(generator.initial_seed())  # dropout draws from the global generator
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate_factor(step, steps)
        batch = make_batch(captions, order[place], tag_numbers, config.structure_window)
        rows = len(batch.rows)
        of_image = torch.rand(rows, 1, generator=generator) < config.image_share
        content = torch.where(of_image, images[owner[batch.rows]] - centres.images, texts[batch.rows] - centres.texts)
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
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), CLIP_NORM)
        optimizer.step()
        decay = min(config.average, (1 + step) / (10 + step))
        run.average(decay)
        losses.append(loss.item())
        if (step + 1) % 20 == 0 or step + 1 == steps:
            report(Progress("language model", step + 1, steps, _told(losses, step, steps_per_epoch)))
        run.keep(step + 1)
    run.finish()
    model.eval()


def _told(losses: Sequence[float], step: int, steps_per_epoch: int) -> str:
    """A line at the end of an epoch."""
    if (step + 1) % steps_per_epoch >= 20:
        return ""
    return f"epoch {round((step + 1) / steps_per_epoch)}: loss {np.mean(losses[-100:]):.3f}"


def unit(vectors: Tensor) -> Tensor:
    """Rows of length one."""
    return nn.functional.normalize(vectors, dim=-1, eps=1e-6)


def with_noise(vectors: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Unit rows, plus a random vector of about this length, as unit rows (n, D)."""
    vectors = unit(vectors)
    if not noise:
        return vectors
    return unit(vectors + noise * unit(torch.randn(vectors.shape, generator=generator)))


@torch.inference_mode()
def perplexity(
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
