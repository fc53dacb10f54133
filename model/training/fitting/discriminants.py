"""Discriminant directions: what tells images of one kind from all others in the joint space.

Texts that name a kind lean to its direction (`encoders.KindNames`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from sklearn.covariance import shrunk_covariance

from model.towers.config import ENCODERS
from model.towers.vectors import EPSILON

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

LOOKS = "names.looks.weight"
_KINDS = "image.kinds.weight"
SHRINKAGE = 0.5
"""Of the covariance of the photographs, towards one that is the same in all directions."""
_TINY = 1e-12


def learn_looks(bundle: Path, image_vectors: Vectors) -> None:
    """Put the looks of the kinds into a bundle's `encoders.safetensors`; its checksum is the caller's to renew.

    What an image of a kind has in its vector is that kind's column of V; what all kinds share says nothing.
    `image_vectors` (n, D) are those of the training photographs.
    """
    file = bundle / ENCODERS
    stored = load_file(file)
    kinds = stored[_KINDS].double().numpy()  # (D, kinds)
    directions = tell_apart(image_vectors, (kinds - kinds.mean(axis=1, keepdims=True)).T)
    stored[LOOKS] = torch.from_numpy(directions.T).half().contiguous()
    partial = file.with_suffix(".partial")
    save_file(stored, partial)
    partial.replace(file)


def tell_apart(images: Vectors, differences: npt.NDArray[np.floating]) -> Floats:
    """Directions (n, D), unit rows, that tell images which differ from all others by `differences` (n, D).

    By linear discriminant analysis: the inverse of the covariance of `images` (m, D), times that. So what these images
    have a lot of anyway, holidays and dogs, counts little. A difference of nothing has no direction, and gives
    zeros, as all do where there is but one image.
    """
    if len(images) < 2:
        return np.zeros(differences.shape)
    covariance = shrunk_covariance(np.cov(images.T.astype(np.float64)), SHRINKAGE)
    covariance += _TINY * np.eye(len(covariance))  # images that are all alike have none
    directions: Floats = np.linalg.solve(covariance, differences.T).T
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), EPSILON)
    return directions
