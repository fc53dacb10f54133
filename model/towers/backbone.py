"""The image tower of kind `backbone`: a convolutional network, and a projection of its pooled feature.

    x = normalise(W_I q + b_I + V p)      q: the backbone's pooled feature, (F,); p: its kinds' probabilities

`model.runtime.torch_encoders.ImageProjection` says where it comes from. A bundle can look at several views of an image:
its vector is the normalised mean of theirs then, and costs as many passes of the network. Or it has several networks,
each for a view of its own: q holds the features of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from model.bundle import Bundle
from model.runtime.interfaces import Network, Runtime
from model.runtime.tensors import MappedTensors
from model.towers.config import CUT, ENCODERS, Preprocessing, View
from model.towers.interfaces import Planes, Prepared
from model.towers.vectors import Vectors, normalise

if TYPE_CHECKING:
    from PIL import Image


class BackboneTower:
    """Images by a network that was trained as a classifier."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        """Load it from a verified bundle. Errors: `BundleError`."""
        self.config = bundle.config.backbone
        self._dimension = bundle.config.dimension
        tensors = MappedTensors(bundle.file(ENCODERS))
        tensors.require("image.linear.weight", (self._dimension, self.config.feature_dimension))
        if self.config.kinds:
            tensors.require("image.kinds.weight", (self._dimension, self.config.kinds))
            known = self.config.kinds_feature_dimension or self.config.feature_dimension
            tensors.require("image.classifier.weight", (self.config.kinds, known))
        self._bundle, self._runtime = bundle, runtime

    # Loaded for the first image: a search by words does without their 30 MB, and without waiting for them.

    @cached_property
    def _backbone(self) -> Network:
        return self._runtime.load(self._bundle, "backbone")

    @cached_property
    def _projection(self) -> Network:
        return self._runtime.load(self._bundle, "projection")

    @property
    def size(self) -> int:
        """About how many pixels a side it looks at."""
        return side_to_decode(self.config.preprocessing, self.config.views)

    def prepare(self, image: Image.Image) -> Prepared:
        """What the networks see of an upright RGB image: uint8 (3 k, S, S), pass by pass."""
        return [planes(image, views, self.config.preprocessing.size) for views in self.config.passes]

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """What `prepare` made of n images, n > 0, to float32 (n, D), unit rows."""
        passes = (standardise(np.stack(seen), self.config.preprocessing) for seen in zip(*prepared, strict=True))
        vectors = [self._projection(*self._backbone(pixels))[0] for pixels in passes]
        return vectors[0] if len(vectors) == 1 else normalise(sum(vectors[1:], start=vectors[0]))

    def features(self, images: Sequence[Image.Image]) -> Vectors:
        """The pooled features (n, F) of upright RGB images: of the first pass."""
        (features,) = self._backbone(see(images, self.config.passes[0], self.config.preprocessing))
        return features


def side_to_decode(preprocessing: Preprocessing, views: Sequence[View]) -> int:
    """About how many pixels a side of an image the network looks at; of the centre it sees more of them."""
    whole = all(not view.startswith("centre") for view in views)
    return math.ceil(preprocessing.size / (1 if whole else 1 - 2 * CUT))


def look(image: Image.Image, view: View) -> Image.Image:
    """What of an image a view shows."""
    kept, _, mirrored = view.partition(" ")
    if kept == "centre":
        left, top = round(image.width * CUT), round(image.height * CUT)
        image = image.crop((left, top, image.width - left, image.height - top))
    if not mirrored:
        return image
    from PIL import Image

    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def see(images: Sequence[Image.Image], views: Sequence[View], preprocessing: Preprocessing) -> Vectors:
    """What k joined networks see of upright RGB images, each its own view: float32 (n, 3 k, S, S)."""
    return standardise(np.stack([planes(image, views, preprocessing.size) for image in images]), preprocessing)


def planes(image: Image.Image, views: Sequence[View], size: int) -> Planes:
    """k views of an upright RGB image of any size: uint8 (3 k, size, size).

    It is resized to the square without keeping its aspect ratio: nothing at the border is lost, and it is what the
    projection was trained on.
    """
    from PIL import Image

    resized = np.empty((len(views), 3, size, size), dtype=np.uint8)
    for into, view in zip(resized, views, strict=True):
        shown = look(image, view)
        square = shown if shown.size == (size, size) else shown.resize((size, size), Image.Resampling.BICUBIC)
        into[:] = np.asarray(square).transpose(2, 0, 1)
    return resized.reshape(-1, size, size)


def standardise(pixels: Planes, preprocessing: Preprocessing) -> Vectors:
    """Pixels (n, 3 k, S, S) to the networks' input, float32 of the same shape."""
    mean, std = (
        np.asarray(value, dtype=np.float32)[:, None, None] for value in (preprocessing.mean, preprocessing.std)
    )
    standardised = pixels.astype(np.float32)
    by_view = standardised.reshape(len(pixels), -1, 3, *pixels.shape[2:])
    by_view *= 1 / (255 * std)
    by_view -= mean / std
    return standardised
