"""What people would write about an image, as expected weights of n-grams, from its vector alone.

CIDEr is, but for its length term, the mean over the references of a cosine of tf-idf vectors: linear in the mean of the
references' unit vectors. A ridge regression from image vectors to that mean therefore estimates a caption's CIDEr
before anybody has described the image; its rank is reduced so that a bundle can carry it. It holds weights for frequent
n-grams and no caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.captioner.trigrams import Table

PREFIX = "expected."
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expectation:
    """`keys` (P,) of n-grams, sorted; their weights of an image are `mean` (P,) + content (D,) @ `left` @ `right`."""

    keys: npt.NDArray[np.int64]
    mean: Floats
    left: Floats
    right: Floats

    def of(self, contents: Floats) -> Floats:
        """Expected weights (m, P) of centred image vectors (m, D)."""
        weights = self.mean + contents @ self.left @ self.right
        return weights.astype(np.float32)

    def table(self, weights: Floats) -> Table:
        """The weights (P,) of one image by n-gram key."""
        return Table(self.keys, weights, 0.0)

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, for safetensors."""
        return {
            f"{PREFIX}keys": self.keys,
            f"{PREFIX}mean": self.mean.astype(np.float16),
            f"{PREFIX}left": self.left.astype(np.float16),
            f"{PREFIX}right": self.right.astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Expectation:
        """What `to_arrays` made."""
        mean, left, right = (arrays[f"{PREFIX}{name}"].astype(np.float32) for name in ("mean", "left", "right"))
        return cls(arrays[f"{PREFIX}keys"].astype(np.int64, copy=False), mean, left, right)
