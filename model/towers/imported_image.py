"""The image tower of kind `imported`: an image encoder that another library trained, such as CLIP's.

Where its text encoder came along, its vectors are those of the joint space. Where Visem trained sentence encoders to
it, a linear projection takes them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image, ImageOps

from model.bundle import Bundle
from model.errors import BundleError
from model.runtime.interfaces import Network, Runtime
from model.runtime.tensors import MappedTensors
from model.towers.config import ENCODERS
from model.towers.imported_config import ImportedImageConfig, Pixels
from model.towers.interfaces import Planes, Prepared
from model.towers.vectors import Vectors, normalise

_LONGEST = 20
"""Longer side of what is resized before its centre is cut out, in shorter ones."""
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class ImportedImageTower:
    """Images by an encoder of another library."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Load it from a verified bundle. Errors: `BundleError`."""
        if not isinstance(bundle.config.image, ImportedImageConfig):
            raise BundleError("bundle_corrupted", f"{bundle.path} has no imported image tower.")
        self.config = bundle.config.image
        self._dimension = bundle.config.dimension
        self._bundle, self._runtime = bundle, runtime
        self._projection: Network | None = None
        if self.config.feature_dimension is not None:
            tensors = MappedTensors(bundle.file(ENCODERS))
            tensors.require("image.linear.weight", (self._dimension, self.config.feature_dimension))
            self._projection = runtime.load(bundle, "projection")

    @cached_property
    def _encoder(self) -> Network:
        """Loaded for the first image: a search by words does without it."""
        return self._runtime.load(self._bundle, "image_encoder")

    @property
    def size(self) -> int:
        """About how many pixels a side it looks at."""
        return self.config.pixels.side

    def prepare(self, image: Image.Image) -> Prepared:
        """What the encoder sees of an upright RGB image: uint8 (3, H, W), in its only pass."""
        return [planes(image, self.config.pixels)]

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """What `prepare` made of n images, n > 0, to float32 (n, D), unit rows."""
        (raw,) = self._encoder(standardise(np.stack([seen for (seen,) in prepared]), self.config.pixels))
        return self._projection(raw)[0] if self._projection else normalise(raw)


def see(images: Sequence[Image.Image], pixels: Pixels) -> Vectors:
    """What the encoder is given of upright RGB images of any size: float32 (n, 3, H, W)."""
    return standardise(np.stack([planes(image, pixels) for image in images]), pixels)


def planes(image: Image.Image, pixels: Pixels) -> Planes:
    """An upright RGB image of any size at the encoder's, uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(fit(image, pixels)).transpose(2, 0, 1))


def standardise(seen: Planes, pixels: Pixels) -> Vectors:
    """Pixels (n, 3, H, W) to the encoder's input, float32 of the same shape."""
    mean, std = (np.asarray(value, dtype=np.float32)[:, None, None] for value in (pixels.mean, pixels.std))
    standardised = seen.astype(np.float32)
    standardised /= np.float32(255)
    standardised -= mean
    standardised /= std
    return standardised


def fit(image: Image.Image, pixels: Pixels) -> Image.Image:
    """An RGB image of exactly the encoder's size. As torchvision and open_clip do it, to the pixel."""
    wanted = pixels.width, pixels.height
    if pixels.resize == "squash":
        return _resize(image, wanted, pixels)
    if pixels.resize == "longest":
        ratio = max(image.width / wanted[0], image.height / wanted[1])
        image = _resize(image, (round(image.width / ratio), round(image.height / ratio)), pixels)
        return _centre(image, wanted, pixels)
    image = _not_too_long(image, pixels)
    if pixels.height == pixels.width:
        shorter = pixels.shorter or pixels.height
        short, long = sorted(image.size)
        longer = int(shorter * long / short)
        size = (shorter, longer) if image.width <= image.height else (longer, shorter)
    else:
        ratio = min(image.width / wanted[0], image.height / wanted[1])
        size = round(image.width / ratio), round(image.height / ratio)
    return _centre(_resize(image, size, pixels), wanted, pixels)


def _not_too_long(image: Image.Image, pixels: Pixels) -> Image.Image:
    """The centre of an image that is a line: only that counts, and enlarged whole it could fill the memory."""
    longest = _LONGEST * min(image.size)
    if max(image.size) <= longest:
        return image
    return _centre(image, (min(image.width, longest), min(image.height, longest)), pixels)


def _resize(image: Image.Image, size: tuple[int, int], pixels: Pixels) -> Image.Image:
    size = max(1, size[0]), max(1, size[1])
    return image if image.size == size else image.resize(size, _FILTERS[pixels.interpolation])


def _centre(image: Image.Image, wanted: tuple[int, int], pixels: Pixels) -> Image.Image:
    """The centre of an image, with borders where it is smaller."""
    missing = [max(0, wanted[side] - image.size[side]) for side in (0, 1)]
    if any(missing):
        borders = missing[0] // 2, missing[1] // 2, (missing[0] + 1) // 2, (missing[1] + 1) // 2
        image = ImageOps.expand(image, borders, (pixels.fill,) * 3)
    rests = [image.size[side] - wanted[side] for side in (0, 1)]
    left, top = (rest // 2 if pixels.half == "down" else round(rest / 2) for rest in rests)
    return image if image.size == wanted else image.crop((left, top, left + wanted[0], top + wanted[1]))
