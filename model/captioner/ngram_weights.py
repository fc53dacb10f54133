"""What people would write about an image, from its vector alone: expected weights of n-grams, and chances of words.

CIDEr is, but for its length term, the mean over the references of a cosine of tf-idf vectors: linear in the mean of the
references' unit vectors. A ridge regression from image vectors to that mean therefore estimates a caption's CIDEr
before anybody has described the image. The same regression estimates which share of the captions say each content word,
so that a caption can be asked what it leaves out. It reads how near the image is to the landmarks of the detectors of
concepts, or the vector itself where a bundle has no such landmarks; its rank is reduced so that a bundle can carry it.
It holds weights for frequent n-grams and words, and no caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.captioner.trigrams import Table

PREFIX = "expected."
RAREST = 1e-3
"""No word is taken to be less likely than this."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expected:
    """What is expected of one image.

    `ngrams`: weights by n-gram. `places` of content words among the chances (-1: none); `chances` (W,) that a caption
    says each, and what they are `usual`ly (W,).
    """

    ngrams: Table
    places: Table
    chances: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expectation:
    """`keys` (P,) of n-grams and numbers of `words` (W,), both sorted.

    What is expected of an image is `mean` (P + W,) + inputs (L,) @ `left` @ `right`.
    """

    keys: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    mean: Floats
    left: Floats
    right: Floats

    def of(self, inputs: Floats) -> list[Expected]:
        """What is expected of each image, of its centred vector or the kernel's features (n, L)."""
        split = len(self.keys)
        places = Table(self.words, np.arange(len(self.words)), -1)
        usual = np.maximum(self.mean[split:].astype(np.float64), RAREST)
        found = (self.mean + inputs @ self.left @ self.right).astype(np.float32)
        return [
            Expected(
                Table(self.keys, own[:split], 0.0),
                places,
                np.clip(own[split:].astype(np.float64), RAREST, 1.0),
                usual,
            )
            for own in found
        ]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, for safetensors: the factors in 8 bits, and by how much their products are multiplied."""
        left, right = (np.abs(part).max(axis=1, initial=1e-9) / 127 for part in (self.left.T, self.right))
        return {
            f"{PREFIX}keys": self.keys,
            f"{PREFIX}words": self.words,
            f"{PREFIX}mean": self.mean.astype(np.float16),
            f"{PREFIX}left": np.round(self.left / left).astype(np.int8),
            f"{PREFIX}right": np.round(self.right / right[:, None]).astype(np.int8),
            f"{PREFIX}scales": (left * right).astype(np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Expectation:
        """What `to_arrays` made; before format version 9 there were neither words nor scales."""
        mean, left, right = (arrays[f"{PREFIX}{name}"].astype(np.float32) for name in ("mean", "left", "right"))
        keys = arrays[f"{PREFIX}keys"].astype(np.int64, copy=False)
        words = arrays.get(f"{PREFIX}words", np.zeros(0, dtype=np.int64)).astype(np.int64, copy=False)
        scales = arrays.get(f"{PREFIX}scales", np.ones(1, dtype=np.float32)).astype(np.float32)
        return cls(keys, words, mean, left * scales, right)
