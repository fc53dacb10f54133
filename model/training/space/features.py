"""Features of a frozen backbone, computed once by the exported network in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.images.decoding import decode_image
from model.runtime.onnx_runtime import OnnxNetwork
from model.towers.backbone import see, side_to_decode
from model.towers.config import BACKBONE_GRAPH, BACKBONE_WEIGHTS, Preprocessing, View
from model.training.progress import Report, counting

Features = npt.NDArray[np.float16]
BATCH = 16


def compute_features(
    photographs: Sequence[Path],
    backbone: Path,
    preprocessing: Preprocessing,
    views: Sequence[View],
    cache: Path,
    report: Report,
    joined: int = 1,
) -> Features:
    """The backbone's features of every view of every image, as serving sees them: float16 (n, views, F).

    `backbone`: folder of the exported network, of `joined` ones that all see the same view here. The features are kept
    in the file `cache`.
    """
    if cache.exists():
        cached: Features = np.load(cache)
        return cached
    network = OnnxNetwork(backbone / BACKBONE_GRAPH, backbone / BACKBONE_WEIGHTS, count=torch.get_num_threads())
    side = side_to_decode(preprocessing, views)
    count = counting(report, "features")
    rows: list[Features] = []
    for start in range(0, len(photographs), BATCH):
        files = photographs[start : start + BATCH]
        images = [decode_image(file.read_bytes(), hint_side=side).image for file in files]
        seen = [network(see(images, [view] * joined, preprocessing))[0] for view in views]
        rows.append(np.stack(seen, axis=1).astype(np.float16))
        count(start + len(files), len(photographs))
    features = np.concatenate(rows)
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(cache)
    return features


@torch.no_grad()
def classify(features: Features, classifier: nn.Linear) -> Tensor:
    """The probabilities of a classifier of the first features for each image, the mean over its views: (n, kinds)."""
    views = [
        classifier(torch.from_numpy(features[:, view, : classifier.in_features].astype(np.float32))).softmax(dim=1)
        for view in range(features.shape[1])
    ]
    return torch.stack(views).mean(0)
