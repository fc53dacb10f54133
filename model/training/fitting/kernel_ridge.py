"""Kernel ridge regression by landmarks, for the detectors of concepts and for what is expected of an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.concepts import Kernel

Floats = npt.NDArray[np.float64]


def kernel_ridge(kernel: Kernel, features: Floats, targets: Floats, penalty: float) -> Floats:
    """Weights (L, O) of a kernel's `features` (n, L) that tell the `targets` (n, O)."""
    gram = features.T @ features
    size = penalty * kernel.nearness(kernel.landmarks).astype(np.float64) + tiny(gram)
    return np.asarray(np.linalg.solve(gram + size, features.T @ targets), dtype=np.float64)


def mean_eigenvalue(gram: Floats) -> float:
    """The mean eigenvalue of a matrix (L, L), above zero."""
    return max(float(np.trace(gram)) / len(gram), 1e-9)


def tiny(gram: Floats) -> Floats:
    """What makes a matrix (L, L) without full rank solvable."""
    return 1e-6 * mean_eigenvalue(gram) * np.eye(len(gram))
