"""One stage of training a joint space, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.runtime.torch_encoders import ImageProjection, SentenceEncoders
from model.towers.config import Preprocessing
from model.training.progress import Progress, Report
from model.training.run import TrainingRun, seed_step, seeded
from model.training.space.batch_norm_folding import FoldedBackbone
from model.training.space.config import SpaceTraining, Stage
from model.training.space.data import TrainingSet, augment
from model.training.space.kinds import Kinds
from model.training.space.losses import contrastive_loss, pairwise_ranking_loss

Features = npt.NDArray[np.float16]
CLIP_NORM = 2.0
_EMBEDDED = 512
"""Captions that are embedded at a time where the sentence encoders do not learn."""
PRE_TRAINED = ("backbone.", "image.classifier.")
"""Names of parameters that come from the backbone's pre-training, and keep close to it."""


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


@dataclass(frozen=True)
class StageInputs:
    """What a stage learns from.

    `features` (n, views, F): the backbone's features of each image's views, where the stage does not train the
    backbone. `kinds`: where features and names of kinds of things come from. `opinions` (n, kinds): the
    probabilities that the classifier gave for each image before the backbone learned.
    """

    data: TrainingSet
    features: Features | None = None
    kinds: Kinds | None = None
    opinions: Tensor | None = None


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Adam's moments of weights that hardly learn decay into denormal numbers, which slow everything down."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@denormals_as_zero()
def run_stage(
    parts: TrainedParts,
    config: SpaceTraining,
    stage: Stage,
    preprocessing: Preprocessing | None,
    inputs: StageInputs,
    checkpoint: Path,
    report: Report,
) -> None:
    """Train `parts` in place through one stage; they hold the averaged weights afterwards.

    `checkpoint`: file to resume from and to write to.
    """
    data = inputs.data
    trained = _trained_parameters(parts, stage)
    optimizer = torch.optim.AdamW(_groups(trained, config, stage))
    steps_per_epoch = max(1, len(data) // stage.batch_images)
    steps = stage.epochs * steps_per_epoch
    run = TrainingRun(trained.values(), optimizer, steps, config.average, checkpoint, CLIP_NORM)
    read_images = _image_reader(parts, config, stage, preprocessing, inputs)
    fixed = _embed_captions(parts, stage, data) if stage.frozen_sentences else None
    losses: list[float] = []
    parts.train()
    parts.backbone.eval()  # batch-norm statistics stay those of pre-training
    for step in range(run.finished, steps):
        epoch, place = divmod(step, steps_per_epoch)
        order = torch.randperm(len(data), generator=seeded(config.seed, stage.name, "epoch", epoch))
        # Sorted, so that the memory-mapped pixels are read forwards.
        rows = order[place * stage.batch_images :][: stage.batch_images].sort().values  # (B,)
        generator = seed_step(config.seed, stage.name, "step", step)

        features = read_images(rows, generator)  # (B, F)
        images = parts.image(features, config.feature_dropout)  # (B, D)
        sentences, owner, places = _draw_captions(data, rows, stage.captions_per_image, generator)
        captions = len(sentences)
        things = None
        if inputs.kinds is not None and stage.kinds:
            made, names = inputs.kinds.draw(stage.kinds, features.detach(), generator)  # (K, F)
            things = parts.image(made, config.feature_dropout)  # (K, D)
            sentences += names
        if fixed is None:
            total_words = sum(len(sentence) for sentence in sentences)
            keep = (torch.rand(total_words, generator=generator) >= config.word_dropout).float()
            vectors = parts.text.embed(sentences, stage.encoders, keep)
        else:
            vectors = [embedded[places] for embedded in fixed]

        loss = torch.zeros(())
        for embedded in vectors:  # (captions + K, D), by each encoder
            loss = loss + _loss(config, images, embedded[:captions], owner)
            if fixed is None and parts.guide is not None and data.guidance is not None:
                told = nn.functional.cosine_similarity(parts.guide(embedded[:captions]), data.guidance[places])
                loss = loss + config.guidance * (1 - told.mean())
            if things is not None:
                own = torch.arange(len(things))
                of_kinds = contrastive_loss(things, embedded[captions:], own, config.temperature)
                loss = loss + stage.kinds_weight * of_kinds
        if stage.trains_backbone and inputs.opinions is not None and parts.image.classifier is not None:
            said = parts.image.classifier(features).log_softmax(dim=1)  # (B, kinds)
            changed = nn.functional.kl_div(said, inputs.opinions[rows], reduction="batchmean")
            loss = loss + config.consistency * changed

        run.step(loss)
        losses.append(loss.item())
        if run.finished % 10 == 0 or run.finished == steps:
            report(Progress(stage.name, run.finished, steps, f"loss {np.mean(losses[-50:]):.3f}"))
    run.finish()
    parts.eval()


def _image_reader(
    parts: TrainedParts, config: SpaceTraining, stage: Stage, preprocessing: Preprocessing | None, inputs: StageInputs
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """A function from rows of images (B,) to features (B, F): frozen ones, or those of augmented pixels."""
    frozen, pixels = inputs.features, inputs.data.pixels
    if frozen is not None:

        def read_frozen(rows: Tensor, generator: torch.Generator) -> Tensor:
            views = torch.randint(0, len(stage.views), (len(rows),), generator=generator)
            return torch.from_numpy(frozen[rows.numpy(), views.numpy()].astype(np.float32))

        return read_frozen

    if pixels is None or preprocessing is None:
        raise ValueError("without pixels a backbone cannot learn")
    size = stage.image_size or config.image_size
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    backbone = FoldedBackbone(parts.backbone, preprocessing.size)

    def read_pixels(rows: Tensor, generator: torch.Generator) -> Tensor:
        batch = torch.from_numpy(pixels[rows.numpy()]).permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S)
        batch = (augment(batch, size, generator) - mean) / std
        return backbone(batch.contiguous(memory_format=torch.channels_last))

    return read_pixels


def _groups(trained: dict[str, nn.Parameter], config: SpaceTraining, stage: Stage) -> list[dict[str, Any]]:
    """The optimizer's groups: what was pre-trained, and all else."""
    pre_trained = [parameter for name, parameter in trained.items() if name.startswith(PRE_TRAINED)]
    new = [parameter for name, parameter in trained.items() if not name.startswith(PRE_TRAINED)]
    groups = [
        # Decay would pull the backbone away from what it was pre-trained to be.
        {"params": pre_trained, "lr": stage.backbone_learning_rate, "weight_decay": 0.0},
        {"params": new, "lr": stage.learning_rate, "weight_decay": config.weight_decay},
    ]
    return [group for group in groups if group["params"]]


def _trained_parameters(parts: TrainedParts, stage: Stage) -> dict[str, nn.Parameter]:
    backbone = [name for name, _ in parts.named_parameters() if name.startswith("backbone.")]
    tuned = set(backbone[int(stage.frozen_share * len(backbone)) :]) if stage.trains_backbone else set()

    def is_trained(name: str) -> bool:
        if stage.frozen_sentences:
            return name.startswith("image.") and not name.startswith("image.classifier.")
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


@torch.no_grad()
def _embed_captions(parts: TrainedParts, stage: Stage, data: TrainingSet) -> list[Tensor]:
    """All captions in a row by each of the stage's encoders, as they are now: (captions, D)."""
    captions = [caption for captions in data.captions for caption in captions]
    batches = [
        parts.text.embed(captions[start : start + _EMBEDDED], stage.encoders)
        for start in range(0, len(captions), _EMBEDDED)
    ]
    return [torch.cat(vectors) for vectors in zip(*batches, strict=True)]


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
