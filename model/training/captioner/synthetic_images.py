"""Vectors of images of things that no training photograph shows, made from photographs' features."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.data.datasets import CaptionDataset
from model.evaluation.protocol import DECODED
from model.images.decoding import decode_image
from model.runtime.torch_encoders import ImageProjection
from model.space import JointSpace
from model.towers.backbone import BackboneTower
from model.towers.config import ENCODERS, VOCABULARY
from model.training.captioner.wide import MakeImages
from model.training.progress import Report, counting
from model.training.space.kinds import Kinds
from model.words import Vocabulary

BACKGROUNDS = 1500
"""Photographs that made images have their backgrounds from."""
_STRENGTH, _BACKGROUND = (4.0, 14.0), (0.3, 0.8)
"""How much a kind's logit grows, and how much of the background stays, at least and at most."""


def tells_kinds(space: JointSpace) -> bool:
    """Whether the image tower was pre-trained to classify kinds of things."""
    return isinstance(space.image, BackboneTower) and space.image.config.kinds > 0


def learn_to_make_images(space: JointSpace, photographs: CaptionDataset, report: Report) -> MakeImages | None:
    """A function that makes images of kinds in front of backgrounds; None where the image tower tells no kinds."""
    tower = space.image
    if not isinstance(tower, BackboneTower) or not tower.config.kinds:
        return None
    items = photographs.items[:: max(1, len(photographs.items) // BACKGROUNDS)]
    counted = counting(report, "features")
    parts = []
    for start in range(0, len(items), DECODED):
        batch = items[start : start + DECODED]
        parts.append(
            tower.features([decode_image(item.path.read_bytes(), hint_side=tower.size).image for item in batch])
        )
        counted(start + len(batch), len(items))
    features = np.concatenate(parts)
    config = space.config
    image = tower.config
    projection = ImageProjection(image.feature_dimension, config.dimension, image.kinds, image.kinds_feature_dimension)
    projection.load_state_dict(
        {
            name.removeprefix("image."): tensor.float()
            for name, tensor in load_file(space.bundle.path / ENCODERS).items()
            if name.startswith("image.")
        }
    )
    projection.eval().requires_grad_(False)
    if projection.classifier is None:
        raise RuntimeError("an image tower that tells kinds has a classifier")
    vocabulary = Vocabulary.read(space.bundle.path / VOCABULARY)
    kinds = Kinds.learn(features[:, None].astype(np.float16), projection.classifier, vocabulary)
    backgrounds = torch.from_numpy(features)

    def make(numbers: Tensor, generator: torch.Generator) -> Tensor:
        rows = torch.randint(0, len(backgrounds), (len(numbers),), generator=generator)
        strength = _between(_STRENGTH, torch.rand(len(numbers), 1, generator=generator))
        kept = _between(_BACKGROUND, torch.rand(len(numbers), 1, generator=generator))
        behind = kinds.mean + kept * (backgrounds[rows] - kinds.mean)
        vectors: Tensor = projection((behind + strength * kinds.directions[numbers]).clamp(min=0))
        return vectors

    return make


def _between(bounds: tuple[float, float], share: Tensor) -> Tensor:
    low, high = bounds
    return low + (high - low) * share
