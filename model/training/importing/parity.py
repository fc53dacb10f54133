"""How near an imported encoder's vectors are to those of its own library."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.towers.imported_config import IMAGE_ENCODER, Precision
from model.towers.imported_image import see
from model.towers.vectors import Vectors, normalise
from model.training.importing.encoders import load_encoder
from model.training.importing.source import ImageSource, ImportingError

LEAST_COSINE = 0.999
"""An import whose fp32 vectors are farther from the library's own than this is refused."""


def compare_images(source: ImageSource, folder: Path) -> dict[Precision, float]:
    """The lowest cosine of each precision's graph in `folder`. Errors: `ImportingError` where fp32 differs."""
    pictures = sample_pictures()
    pixels = see(pictures, source.config.pixels)
    with torch.inference_mode():
        wanted = unit_rows(source.whole(source.reference(pictures)))
    cosines: dict[Precision, float] = {}
    for precision in get_args(Precision):
        (made,) = load_encoder(IMAGE_ENCODER, folder, precision)(pixels)
        cosines[precision] = lowest_cosine(wanted, normalise(made))
    check(cosines["fp32"], "image")
    return cosines


def check(cosine: float, encoder: str) -> None:
    """Refuse what differs. Errors: `ImportingError`."""
    if np.isnan(cosine):
        raise ImportingError(f"The vectors of the {encoder} encoder are no numbers. Download its weights again.")
    if cosine < LEAST_COSINE:
        raise ImportingError(
            f"The exported {encoder} encoder gives other vectors than its own library (cosine {cosine:.4f}): it "
            "cannot be imported. Choose another model."
        )


def sample_pictures() -> list[Image.Image]:
    """Pictures of several shapes, always the same: coarse colours, smooth ones, and noise."""
    random = np.random.default_rng(0)
    pictures = []
    for width, height, cells in ((320, 240, 4), (240, 400, 9), (500, 260, 31), (97, 131, 97), (256, 256, 12)):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pictures.append(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return pictures


def unit_rows(vectors: Tensor) -> Vectors:
    """Vectors of a library's network as unit rows."""
    return normalise(vectors.float().numpy())


def lowest_cosine(one: Vectors, other: Vectors) -> float:
    """Of the rows of two arrays (n, D), unit rows."""
    return round(float((one * other).sum(axis=1).min()), 6)
