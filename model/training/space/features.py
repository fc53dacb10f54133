"""Features of a frozen backbone, computed once by the exported network in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.runtime.onnx_runtime import OnnxNetwork
from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS, Preprocessing
from model.training.progress import Report, counting
from model.training.space.data import Pixels

Features = npt.NDArray[np.float16]
BATCH = 16


def compute_features(
    pixels: Pixels, backbone: Path, preprocessing: Preprocessing, views: int, cache: Path, report: Report
) -> Features:
    """The backbone's features of every image (`views` 1) and of its mirror image (2): float16 (n, views, F).

    `backbone`: folder of the exported network. The features are kept in the file `cache`.
    """
    if cache.exists():
        cached: Features = np.load(cache)
        return cached
    network = OnnxNetwork(backbone / BACKBONE_GRAPH, backbone / BACKBONE_WEIGHTS, count=torch.get_num_threads())
    mean, std = (np.asarray(value, dtype=np.float32) for value in (preprocessing.mean, preprocessing.std))
    count = counting(report, "features")
    rows: list[Features] = []
    for start in range(0, len(pixels), BATCH):
        batch = (pixels[start : start + BATCH].astype(np.float32) / 255 - mean) / std  # (B, S, S, 3)
        sides = [
            network(np.ascontiguousarray(side.transpose(0, 3, 1, 2)))[0]  # (B, F)
            for side in (batch, batch[:, :, ::-1])[:views]
        ]
        rows.append(np.stack(sides, axis=1).astype(np.float16))
        count(min(start + BATCH, len(pixels)), len(pixels))
    features = np.concatenate(rows)
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(cache)
    return features


@torch.no_grad()
def classify(features: Features, classifier: nn.Linear) -> Tensor:
    """The classifier's probabilities for each image, the mean over its views: (n, kinds)."""
    views = [
        classifier(torch.from_numpy(features[:, view].astype(np.float32))).softmax(dim=1)
        for view in range(features.shape[1])
    ]
    return torch.stack(views).mean(0)
