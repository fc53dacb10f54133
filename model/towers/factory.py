"""The towers of a bundle, by the kinds that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from model.bundle import Bundle
from model.runtime.interfaces import Runtime
from model.towers.backbone import BackboneTower
from model.towers.interfaces import ImageTower, TextTower
from model.towers.words import WordTower

IMAGE_TOWERS: Mapping[str, Callable[[Bundle, Runtime], ImageTower]] = {"backbone": BackboneTower}
TEXT_TOWERS: Mapping[str, Callable[[Bundle, Runtime], TextTower]] = {"words": WordTower}


def build_towers(bundle: Bundle, runtime: Runtime) -> tuple[ImageTower, TextTower]:
    """Both towers of a verified bundle. Errors: `BundleError`."""
    config = bundle.config
    return IMAGE_TOWERS[config.image.tower](bundle, runtime), TEXT_TOWERS[config.text.tower](bundle, runtime)
