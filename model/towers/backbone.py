"""The image tower of kind `backbone`: a convolutional network, and a projection of its pooled feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from model.bundle import Bundle
from model.encoders import Backbone, ImageProjection, OnnxBackbone, TorchBackbone, preprocess
from model.towers.config import ImageConfig
from model.towers.interfaces import Vectors
from model.towers.weights import load_weights

BATCH = 16
"""Images that go through the backbone at once: more brings no speed on a CPU, and costs memory."""


class BackboneTower:
    """x = normalise(W_I q + b_I + V p): see `model.encoders`."""

    def __init__(self, config: ImageConfig, dimension: int, backbone: Backbone, projection: ImageProjection) -> None:
        self.config = config
        self._dimension = dimension
        self._backbone = backbone
        self._projection = projection

    @classmethod
    def load(cls, bundle: Bundle, device: str) -> BackboneTower:
        """Load it from a bundle. Errors: `BundleError`."""
        config, dimension = bundle.config.image, bundle.config.dimension
        projection = ImageProjection(config.feature_dimension, dimension, config.kinds)
        load_weights(projection, bundle, "image.")
        backbone: Backbone = (
            OnnxBackbone(bundle.path) if device == "cpu" else TorchBackbone(bundle.path, config, device)
        )
        return cls(config, dimension, backbone, projection.to(device))

    @property
    def size(self) -> int:
        """About how many pixels a side it looks at."""
        return self.config.preprocessing.size

    @torch.inference_mode()
    def embed(self, images: Sequence[Image.Image]) -> Vectors:
        """Upright RGB images to float32 (n, D), unit rows; (0, D) for none."""
        vectors = np.empty((len(images), self._dimension), dtype=np.float32)
        device = self._projection.scale.device
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            features = self._backbone(preprocess(batch, self.config.preprocessing))
            vectors[start : start + len(batch)] = self._projection(torch.from_numpy(features).to(device)).cpu().numpy()
        return vectors
