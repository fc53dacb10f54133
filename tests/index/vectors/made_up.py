"""Made-up vectors for the tests of indexes."""

from __future__ import annotations

import numpy as np


def unit(count: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clouds(count: int, seed: int, noise: float = 0.2) -> np.ndarray:
    """Vectors around fifty centres, as those of real pictures are, in 64 dimensions."""
    random = np.random.default_rng(seed)
    rows = unit(50, 64, 1)[random.integers(50, size=count)] + noise * random.normal(size=(count, 64)) / 8
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
