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

    def prepare(self, images: Sequence[Image.Image]) -> list[Vectors]:
        """What the network sees of upright RGB images, float32 (n, 3 k, S, S), in each pass."""
        return [see(images, views, self.config.preprocessing) for views in self.config.passes]

    def encode(self, prepared: Sequence[Vectors]) -> Vectors:
        """What `prepare` made of n images to float32 (n, D), unit rows."""
        vectors = [self._projection(*self._backbone(pixels))[0] for pixels in prepared]
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
    seen = [preprocess([look(image, view) for image in images], preprocessing) for view in views]
    return seen[0] if len(seen) == 1 else np.concatenate(seen, axis=1)


def preprocess(images: Sequence[Image.Image], preprocessing: Preprocessing) -> Vectors:
    """Upright RGB images of any size to the backbone's input, float32 (n, 3, S, S).

    Images are resized to the square without keeping their aspect ratio: nothing at the border is lost, and it is what
    the projection was trained on.
    """
    from PIL import Image

    size = preprocessing.size
    planes = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for row, image in enumerate(images):
        resized = image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)
        planes[row] = np.asarray(resized).transpose(2, 0, 1)
    mean, std = (
        np.asarray(value, dtype=np.float32)[:, None, None] for value in (preprocessing.mean, preprocessing.std)
    )
    pixels = planes.astype(np.float32)
    pixels *= 1 / (255 * std)
    pixels -= mean / std
    return pixels
