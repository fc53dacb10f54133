"""What people would write about an image, from its vector alone: weights of n-grams, chances of words, a vector.

CIDEr is, but for its length term, the mean over the references of a cosine of tf-idf vectors: linear in the mean of the
references' unit vectors. A ridge regression from image vectors to that mean therefore estimates a caption's CIDEr
before anybody has described the image. The same regression estimates which share of the captions say each content word,
so that a caption can be asked what it leaves out; and the mean vector of the captions, which the language model
understands better than the image's. It reads how near the image is to the landmarks of the detectors of
concepts, or the vector itself where a bundle has no such landmarks; its rank is reduced so that a bundle can carry it.
It holds weights for frequent n-grams and words, and no caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.captioner.trigrams import Table

PREFIX, CONTENT = "expected.", "expected.content."
RAREST = 1e-3
"""No word is taken to be less likely than this."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expected:
    """What is expected of one image.

    `ngrams`: weights by n-gram. `places` of content words among the chances (-1: none); `chances` (W,) that a caption
    says each, and what they are `usual`ly (W,). `content` (D,): a vector of its captions around the mean of all; about
    one long for an image like those of training, and shorter for others.
    """

    ngrams: Table
    places: Table
    chances: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]
    content: Floats

    @cached_property
    def lifts(self) -> npt.NDArray[np.float64]:
        """Logarithms of how much likelier than usual each content word is (W,)."""
        lifts: npt.NDArray[np.float64] = np.log(self.chances / self.usual)
        return lifts


@dataclass(frozen=True)
class Regression:
    """A linear regression of reduced rank: `mean` (O,) + inputs (n, L) @ `left` @ `right`."""

    mean: Floats
    left: Floats
    right: Floats

    def __call__(self, inputs: Floats) -> Floats:
        """What it expects of each input (n, O)."""
        found: Floats = (self.mean + inputs @ self.left @ self.right).astype(np.float32)
        return found

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, for safetensors: the factors in 8 bits, and by how much their products are multiplied."""
        left, right = (np.abs(part).max(axis=1, initial=1e-9) / 127 for part in (self.left.T, self.right))
        return {
            f"{prefix}mean": self.mean.astype(np.float16),
            f"{prefix}left": np.round(self.left / left).astype(np.int8),
            f"{prefix}right": np.round(self.right / right[:, None]).astype(np.int8),
            f"{prefix}scales": (left * right).astype(np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> Regression:
        """What `to_arrays` made; before format version 9 there were no scales."""
        mean, left, right = (arrays[f"{prefix}{name}"].astype(np.float32) for name in ("mean", "left", "right"))
        scales = arrays.get(f"{prefix}scales", np.ones(1, dtype=np.float32)).astype(np.float32)
        return cls(mean, left * scales, right)


@dataclass(frozen=True)
class Expectation:
    """`keys` (P,) of n-grams and numbers of `words` (W,), both sorted.

    `shares` has the weights of the n-grams and the chances of the words (P + W,), `content` the vector of captions
    (D,), or is None.
    """

    keys: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    shares: Regression
    content: Regression | None

    def of(self, inputs: Floats) -> list[Expected]:
        """What is expected of each image, of its centred vector or the kernel's features (n, L)."""
        split = len(self.keys)
        places = Table(self.words, np.arange(len(self.words)), -1)
        usual = np.maximum(self.shares.mean[split:].astype(np.float64), RAREST)
        contents = np.zeros((len(inputs), 0), dtype=np.float32) if self.content is None else self.content(inputs)
        return [
            Expected(
                Table(self.keys, own[:split], 0.0),
                places,
                np.clip(own[split:].astype(np.float64), RAREST, 1.0),
                usual,
                content,
            )
            for own, content in zip(self.shares(inputs), contents, strict=True)
        ]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, for safetensors."""
        content = {} if self.content is None else self.content.to_arrays(CONTENT)
        return {f"{PREFIX}keys": self.keys, f"{PREFIX}words": self.words, **self.shares.to_arrays(PREFIX), **content}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Expectation:
        """What `to_arrays` made; before format version 9 there were no words, and before 10 no content."""
        words = arrays.get(f"{PREFIX}words", np.zeros(0, dtype=np.int64)).astype(np.int64, copy=False)
        content = Regression.from_arrays(arrays, CONTENT) if f"{CONTENT}left" in arrays else None
        keys = arrays[f"{PREFIX}keys"].astype(np.int64, copy=False)
        return cls(keys, words, Regression.from_arrays(arrays, PREFIX), content)
