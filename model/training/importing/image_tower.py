"""An image tower alone, without a text encoder that fits it: what `visem train space --image-tower` learns to talk to.

It is read from a folder as timm, open_clip or transformers publish one, or from a bundle, whose image half it is then.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from model.bundle import CONFIG_FILE, Bundle, file_digest
from model.towers.imported_config import IMAGE_ENCODER, ImportedImageConfig
from model.training.importing.encoders import export_encoder
from model.training.importing.hugging_face import read_hugging_face_images, read_json
from model.training.importing.parity import compare_images
from model.training.importing.source import ImageSource, ImportingError

_OPEN_CLIP = "open_clip_config.json"
_OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_ENDINGS = (".safetensors", ".onnx", ".int8.onnx")


@dataclass(frozen=True)
class ImageTowerFolder:
    """An image tower's files, ready for a bundle: `image_encoder.*` in a folder.

    `origin`: where it is from, for people; `terms`: what is known of its data and terms of use, if anything.
    """

    folder: Path
    config: ImportedImageConfig
    name: str
    origin: str
    terms: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, and of how it sees images."""
        identity = json.dumps(self.config.identity(), sort_keys=True)
        weights = file_digest(self.folder / f"{IMAGE_ENCODER}.safetensors")
        return hashlib.sha256((identity + weights).encode()).hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Put its files into a bundle."""
        for ending in _ENDINGS:
            shutil.copyfile(self.folder / f"{IMAGE_ENCODER}{ending}", folder / f"{IMAGE_ENCODER}{ending}")


def read_image_tower(folder: Path, work: Path) -> ImageTowerFolder:
    """Read a folder, and export its network into `work`. Errors: `ImportingError`, `BundleError`."""
    if (folder / CONFIG_FILE).is_file():
        return _of_bundle(folder)
    source, library = _read(folder)
    work.mkdir(parents=True, exist_ok=True)
    pixels = source.config.pixels
    example = torch.zeros(2, 3, pixels.height, pixels.width)
    with torch.inference_mode():
        vectors = source.network(example)
    if vectors.dim() != 2:
        raise ImportingError(f"The network in {folder} gives no vector for an image. Choose one with pooled features.")
    export_encoder(source.network, IMAGE_ENCODER, example, {0: torch.export.Dim("batch")}, work, input_name="pixels")
    compare_images(source, work)
    name = folder.resolve().name
    config = source.config.model_copy(update={"feature_dimension": int(vectors.shape[1])})
    return ImageTowerFolder(work, config, name, f"{library}, {name}")


def _read(folder: Path) -> tuple[ImageSource, str]:
    """The image tower of a folder, and the library that it is of."""
    if not folder.is_dir():
        raise ImportingError(f"There is no folder {folder} with an image tower.")
    if (folder / _OPEN_CLIP).is_file():
        from model.training.importing.open_clip import read_open_clip_images

        found = [folder / name for name in _OPEN_CLIP_WEIGHTS if (folder / name).is_file()]
        if not found:
            raise ImportingError(f"There are no weights in {folder}. Download {_OPEN_CLIP_WEIGHTS[0]} into it.")
        return read_open_clip_images(folder / _OPEN_CLIP, found[0]), "open_clip"
    published = read_json(folder / "config.json")
    if "architecture" in published:
        from model.training.importing.timm_images import read_timm_images

        return read_timm_images(folder, published), "timm"
    return read_hugging_face_images(folder), "transformers"


def _of_bundle(folder: Path) -> ImageTowerFolder:
    bundle = Bundle.load(folder)
    image = bundle.config.image
    if not isinstance(image, ImportedImageConfig):
        raise ImportingError(
            f"The image tower of the bundle {folder} was trained by Visem. Train on its backbone instead: --backbone."
        )
    dimension = image.feature_dimension or bundle.config.dimension
    config = image.model_copy(update={"feature_dimension": dimension})
    name, origin = bundle.config.name, bundle.config.recipe.get("image_tower", bundle.config.recipe).get("origin", "")
    return ImageTowerFolder(folder, config, name, str(origin) or name, bundle.config.training_data)
