"""One stage of training, step by step; resumable at any step.

Every step seeds its own random numbers from (seed, stage, step), and the learning rate is a function of the step. So a
run that was killed and resumed from a checkpoint takes the same steps as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.encoders import ImageProjection, SentenceEncoders
from model.towers.config import Preprocessing
from model.training.checkpoint import AveragedRun
from model.training.space.config import SpaceTraining, Stage
from model.training.space.data import TrainingSet, augment
from model.training.space.folding import FoldedBackbone
from model.training.space.kinds import Kinds
from model.training.space.losses import contrastive_loss, pairwise_ranking_loss

WARM_UP_SHARE = 0.1
CLIP_NORM = 2.0
PRE_TRAINED = ("backbone.", "image.classifier.")
"""Names of parameters that come from the backbone's pre-training, and keep close to it."""


@dataclass(frozen=True)
class Progress:
    """Where a run is: for a progress bar or a log line. `step` of `steps`, in units of the stage's own."""

    stage: str
    step: int
    steps: int
    message: str = ""


Report = Callable[[Progress], None]


class TrainedParts(nn.Module):
    """What the stages train: backbone, image projection, sentence encoders; and the guide, which is not shipped.

    The guide (D to 384) tells the text model's vector of a caption from a sentence encoder's, and so makes the encoder
    keep what that one knows.
    """

    def __init__(
        self, backbone: nn.Module, image: ImageProjection, text: SentenceEncoders, guide: nn.Linear | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.image = image
        self.text = text
        self.guide = guide


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Adam's moments of weights that hardly learn decay into denormal numbers, which slow everything down."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_denormals_as_zero()
def run_stage(
    parts: TrainedParts,
    config: SpaceTraining,
    stage: Stage,
    preprocessing: Preprocessing,
    data: TrainingSet,
    features: npt.NDArray[np.float16] | None,
    kinds: Kinds | None,
    opinions: Tensor | None,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train `parts` in place through one stage; they hold the averaged weights afterwards.

    `features` (n, views, F): the backbone's features of each image and of its mirror image, where the stage does not
    train the backbone. `kinds`: where features and names of kinds of things come from. `opinions` (n, kinds): the
    chances that the classifier gave for each image before the backbone learned. `checkpoint`: file to resume from and
    to write to.
    """
    trained = _trained_parameters(parts, stage)
    groups = {
        "backbone": [parameter for name, parameter in trained.items() if name.startswith(PRE_TRAINED)],
        "encoders": [parameter for name, parameter in trained.items() if not name.startswith(PRE_TRAINED)],
    }
    rates = {"backbone": stage.backbone_learning_rate, "encoders": stage.learning_rate}
    optimizer = torch.optim.AdamW(
        [
            # Decay would pull the backbone away from what it was pre-trained to be.
            {
                "params": parameters,
                "weight_decay": 0.0 if name == "backbone" else config.weight_decay,
                "name": name,
            }
            for name, parameters in groups.items()
            if parameters
        ]
    )
    steps_per_epoch = max(1, len(data) // stage.batch_images)
    steps = stage.epochs * steps_per_epoch
    run = AveragedRun(parts, trained, optimizer, checkpoint)
    start = run.resume()
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    losses: list[float] = []
    parts.train()
    parts.backbone.eval()  # batch-norm statistics stay those of pre-training
    backbone = FoldedBackbone(parts.backbone, preprocessing.size)
    for step in range(start, steps):
        epoch, place = divmod(step, steps_per_epoch)
        order = _permutation(config.seed, stage, epoch, len(data))
        # Sorted, so that the memory-mapped pixels are read forwards.
        rows = order[place * stage.batch_images :][: stage.batch_images].sort().values
        generator = seeded(config.seed, stage.name, "step", step)
        torch.manual_seed(generator.initial_seed())  # dropout draws from the global generator
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]] * rate_factor(step, steps)

        if features is not None:
            views = torch.randint(0, stage.views, (len(rows),), generator=generator)
            pooled = torch.from_numpy(features[rows.numpy(), views.numpy()].astype(np.float32))
        else:
            pixels = torch.from_numpy(data.pixels[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
            batch = (augment(pixels, stage.image_size or config.image_size, generator) - mean) / std
            pooled = backbone(batch.contiguous(memory_format=torch.channels_last))
        images = parts.image(pooled, config.feature_dropout)
        sentences, owner, places = _draw_captions(data, rows, stage.captions_per_image, generator)
        captions = len(sentences)
        if kinds is not None and stage.kinds:
            made, names = kinds.draw(stage.kinds, pooled.detach(), generator)
            things = parts.image(made, config.feature_dropout)
            sentences += names
        total_words = sum(len(sentence) for sentence in sentences)
        keep = (torch.rand(total_words, generator=generator) >= config.word_dropout).float()

        loss = torch.zeros(())
        for embedded in parts.text.embed(sentences, stage.encoders, keep):
            loss = loss + _loss(config, images, embedded[:captions], owner)
            if parts.guide is not None and data.guidance is not None:
                told = nn.functional.cosine_similarity(parts.guide(embedded[:captions]), data.guidance[places])
                loss = loss + config.guidance * (1 - told.mean())
            if len(sentences) > captions:
                own = torch.arange(len(things))
                of_kinds = contrastive_loss(things, embedded[captions:], own, config.temperature)
                loss = loss + stage.kinds_weight * of_kinds
        if stage.trains_backbone and opinions is not None and parts.image.classifier is not None:
            said = parts.image.classifier(pooled).log_softmax(dim=1)
            loss = loss + config.consistency * nn.functional.kl_div(said, opinions[rows], reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        for parameters in groups.values():
            if parameters:
                torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()

        decay = min(config.average, (1 + step) / (10 + step)) if config.average else 0.0
        run.average(decay)
        losses.append(loss.item())
        if (step + 1) % 10 == 0 or step + 1 == steps:
            report(Progress(stage.name, step + 1, steps, f"loss {np.mean(losses[-50:]):.3f}"))
        run.keep(step + 1)
    run.finish()
    parts.eval()


def _trained_parameters(parts: TrainedParts, stage: Stage) -> dict[str, nn.Parameter]:
    backbone = [name for name, _ in parts.named_parameters() if name.startswith("backbone.")]
    tuned = set(backbone[int(stage.frozen_share * len(backbone)) :]) if stage.trains_backbone else set()

    def is_trained(name: str) -> bool:
        if name.startswith("backbone."):
            return name in tuned
        if name.startswith("image.classifier."):
            return stage.trains_backbone  # on frozen features it is right as it is
        return "lstm" in stage.encoders or not name.startswith("text.lstm.")

    for name, parameter in parts.named_parameters():
        parameter.requires_grad_(is_trained(name))
    return {name: parameter for name, parameter in parts.named_parameters() if is_trained(name)}


def _loss(config: SpaceTraining, images: Tensor, sentences: Tensor, owner: Tensor) -> Tensor:
    if config.loss == "contrastive":
        return contrastive_loss(images, sentences, owner, config.temperature)
    hardest = config.loss == "ranking-hardest"
    return pairwise_ranking_loss(images, sentences, owner, config.margin, "hardest" if hardest else "sum")


def _draw_captions(
    data: TrainingSet, rows: Tensor, count: int, generator: torch.Generator
) -> tuple[list[list[int]], Tensor, Tensor]:
    """Up to `count` captions of each image, drawn without repeats.

    Returns word numbers, each one's row in the batch, and its place among all captions.
    """
    sentences: list[list[int]] = []
    owner: list[int] = []
    places: list[int] = []
    for place, row in enumerate(rows.tolist()):
        captions = data.captions[row]
        for choice in torch.randperm(len(captions), generator=generator)[:count].tolist():
            sentences.append(captions[choice])
            owner.append(place)
            places.append(data.starts[row] + choice)
    return sentences, torch.tensor(owner), torch.tensor(places)


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine down to one hundredth."""
    warm_up = max(1, int(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


def seeded(*parts: object) -> torch.Generator:
    """A generator whose numbers depend on all of the parts and on nothing else."""
    digest = 0
    for character in repr(parts):
        digest = (digest * 1_000_003 + ord(character)) % (2**63)
    return torch.Generator().manual_seed(digest)


def _permutation(seed: int, stage: Stage, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=seeded(seed, stage.name, "epoch", epoch))
