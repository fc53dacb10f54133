"""The towers of a bundle, by the kinds that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from model.bundle import Bundle
from model.runtime.interfaces import Runtime
from model.towers.backbone import BackboneTower
from model.towers.interfaces import ImageTower, TextTower
from model.towers.words import WordTower


def _imported_image(bundle: Bundle, runtime: Runtime) -> ImageTower:
    from model.towers.imported_image import ImportedImageTower

    return ImportedImageTower(bundle, runtime)


def _imported_text(bundle: Bundle, runtime: Runtime) -> TextTower:
    from model.towers.imported_text import ImportedTextTower  # its tokenizer's library takes a while, and memory

    return ImportedTextTower(bundle, runtime)


IMAGE_TOWERS: Mapping[str, Callable[[Bundle, Runtime], ImageTower]] = {
    "backbone": BackboneTower,
    "imported": _imported_image,
}
TEXT_TOWERS: Mapping[str, Callable[[Bundle, Runtime], TextTower]] = {"words": WordTower, "imported": _imported_text}


def build_towers(bundle: Bundle, runtime: Runtime) -> tuple[ImageTower, TextTower]:
    """Both towers of a verified bundle. Errors: `BundleError`."""
    config = bundle.config
    return IMAGE_TOWERS[config.image.tower](bundle, runtime), TEXT_TOWERS[config.text.tower](bundle, runtime)
