"""The image side of a run: a backbone that can learn, or an image tower that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from model.towers.config import ImageConfig, Preprocessing
from model.towers.imported_config import ImportedImageConfig
from model.training.importing.image_tower import ImageTowerFolder
from model.training.space.backbone_weights import backbone_preprocessing, load_pretrained
from model.training.space.config import SpaceTraining
from model.training.space.export import export_backbone
from model.training.space.kinds import COUNT as KINDS


@dataclass(frozen=True)
class ImageSide:
    """What features of images come from. With a frozen `tower`, `backbone` is nothing, and there is no classifier.

    `config`: its part of the bundle's configuration; `classifier` (F to kinds): of the backbone's pre-training.
    """

    name: str
    config: ImageConfig | ImportedImageConfig
    backbone: nn.Module
    classifier: nn.Linear | None = None
    tower: ImageTowerFolder | None = None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pixels become the backbone's input; None for a frozen tower, which prepares them itself."""
        return self.config.preprocessing if isinstance(self.config, ImageConfig) else None

    def write(self, folder: Path, image_size: int) -> None:
        """Put its network into the folder of a bundle."""
        if self.tower is None:
            export_backbone(self.backbone, image_size, folder)
        else:
            self.tower.copy_to(folder)


def trainable(config: SpaceTraining) -> ImageSide:
    """A backbone of timm with pre-trained weights. Errors: `BackboneWeightsError`."""
    backbone, classifier = load_pretrained(config.backbone, config.backbone_weights)
    if not config.kinds or classifier is None or classifier.out_features != KINDS:
        classifier = None
    preprocessing = backbone_preprocessing(backbone, config.image_size)
    image = ImageConfig(
        backbone=config.backbone,
        feature_dimension=_feature_dimension(backbone, preprocessing),
        kinds=0 if classifier is None else KINDS,
        preprocessing=preprocessing,
        views=config.image_views,
    )
    return ImageSide(config.backbone, image, backbone.to(memory_format=torch.channels_last), classifier)


def frozen(tower: ImageTowerFolder) -> ImageSide:
    """An image tower that others trained."""
    return ImageSide(tower.name, tower.config, nn.Identity(), tower=tower)


def _feature_dimension(network: nn.Module, preprocessing: Preprocessing) -> int:
    """F, by asking the network itself: timm's attribute for it differs between families."""
    with torch.inference_mode():
        pooled = network(torch.zeros(1, 3, preprocessing.size, preprocessing.size))
    return int(pooled.shape[1])
