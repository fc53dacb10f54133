"""The towers of a bundle, by the kinds that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from model.bundle import Bundle
from model.towers.backbone import BackboneTower
from model.towers.interfaces import ImageTower, TextTower
from model.towers.words import WordTower

IMAGE_TOWERS: Mapping[str, Callable[[Bundle, str], ImageTower]] = {"backbone": BackboneTower.load}
TEXT_TOWERS: Mapping[str, Callable[[Bundle, str], TextTower]] = {"words": WordTower.load}


def build_towers(bundle: Bundle, device: str) -> tuple[ImageTower, TextTower]:
    """Both towers of a verified bundle, on `cpu` or `cuda`. Errors: `BundleError`."""
    config = bundle.config
    return IMAGE_TOWERS[config.image.tower](bundle, device), TEXT_TOWERS[config.text.tower](bundle, device)
