"""Features of an image tower that is not trained: those of `visem train space --image-tower`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from model.data.datasets import CaptionDataset
from model.evaluation.protocol import DECODED
from model.images.decoding import decode_image
from model.towers.imported_config import IMAGE_ENCODER
from model.towers.imported_image import see
from model.training.importing.encoders import load_encoder
from model.training.importing.image_tower import ImageTowerFolder
from model.training.importing.source import ImportingError
from model.training.progress import Report, counting
from model.training.space.features import Features


def frozen_features(
    tower: ImageTowerFolder, photographs: CaptionDataset, views: int, cache: Path, report: Report
) -> Features:
    """The tower's vectors of every image (`views` 1) and of its mirror image (2): float16 (n, views, F).

    They are kept in the file `cache`. Errors: `ImportingError` where they are no numbers.
    """
    if cache.exists():
        cached: Features = np.load(cache)
        return cached
    config = tower.config
    network = load_encoder(IMAGE_ENCODER, tower.folder, config.precision)
    count = counting(report, "features")
    rows: list[Features] = []
    for start in range(0, len(photographs.items), DECODED):
        items = photographs.items[start : start + DECODED]
        images = [decode_image(item.path.read_bytes(), hint_side=config.pixels.side).image for item in items]
        mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images] if views > 1 else []
        sides = [network(see(shown, config.pixels))[0] for shown in (images, mirrored)[:views]]
        rows.append(np.stack(sides, axis=1).astype(np.float16))
        count(start + len(items), len(photographs.items))
    features = np.concatenate(rows)
    if not np.isfinite(features).all():
        raise ImportingError(
            f"The image tower {tower.name} gives vectors for photographs that are no numbers, or too large. Choose "
            "another one."
        )
    partial = cache.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(cache)
    return features
