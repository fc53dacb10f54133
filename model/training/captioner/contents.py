"""What the language model is told of photographs: their vectors, and what people are expected to write about them.

The kernel's regression knows the training photographs. So in training each is told what a regression expects that has
not seen it: that is as far from its captions as what will be expected of other images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.captioner.ngram_weights import Regression
from model.concepts import Kernel
from model.training.captioner.data import CaptionSet
from model.training.fitting.kernel_ridge import kernel_ridge, mean_eigenvalue, tiny

RANK = 64
FOLDS = 5
PENALTY = 1.0
"""Of the regression, in units of the mean eigenvalue."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contents:
    """Means (D,) of the image vectors and of the sentence vectors of training, and what is made with them.

    `photographs` (n, D): contents of those of training. `expected`: regression from the kernel's features to the mean
    vector of an image's captions, which counts `weight` beside the image's; None: only that counts.
    """

    images: Tensor
    texts: Tensor
    photographs: Tensor
    kernel: Kernel | None = None
    expected: Regression | None = None
    weight: float = 0.0

    @classmethod
    def learn(cls, captions: CaptionSet, kernel: Kernel | None, weight: float, seed: int) -> Contents:
        """Those of a set of captions; `kernel`: that of the detectors of concepts, where there are any."""
        images, texts = (torch.from_numpy(part.mean(axis=0)) for part in (captions.images, captions.texts))
        own = unit(torch.from_numpy(captions.images) - images)
        if kernel is None or not weight:
            return cls(images, texts, own)
        inputs = kernel.features(own.numpy()).astype(np.float64)
        said = _said(captions, texts)
        fold = np.random.default_rng(seed).permutation(len(inputs)) % FOLDS
        unseen = np.zeros(said.shape, dtype=np.float32)
        for number in range(FOLDS):
            weights = _regress(inputs[fold != number], said[fold != number], kernel)
            unseen[fold == number] = inputs[fold == number] @ weights
        weights = _regress(inputs, said, kernel)
        expected = reduced(np.zeros(said.shape[1]), weights, inputs.T @ inputs, RANK)
        photographs = unit(own + weight * torch.from_numpy(unseen))
        return cls(images, texts, photographs, kernel, expected, weight)

    def of(self, images: Tensor) -> Tensor:
        """Contents of other images (n, D), by their vectors: unit rows."""
        own = unit(images - self.images)
        if self.kernel is None or self.expected is None:
            return own
        return unit(own + self.weight * torch.from_numpy(self.expected(self.kernel.features(own.numpy()))))


def unit(vectors: Tensor) -> Tensor:
    """Rows of length one."""
    return nn.functional.normalize(vectors, dim=-1, eps=1e-6)


def reduced(mean: Floats, weights: Floats, gram: Floats, rank: int) -> Regression:
    """A regression's `weights` (L, O) in the directions in which its predictions differ most.

    `gram` (L, L) is that of the inputs that these are made of.
    """
    directions = np.linalg.svd(np.linalg.cholesky(gram + tiny(gram)).T @ weights, full_matrices=False)[2][:rank]
    return Regression(
        mean.astype(np.float32), (weights @ directions.T).astype(np.float32), directions.astype(np.float32)
    )


def _said(captions: CaptionSet, centre: Tensor) -> Floats:
    """The mean of the vectors of each photograph's captions, around that of all (n, D)."""
    said = np.zeros(captions.images.shape)
    np.add.at(said, captions.owner, captions.texts - centre.numpy())
    counts = np.bincount(captions.owner, minlength=len(said))
    return said / np.maximum(counts, 1)[:, None]


def _regress(inputs: Floats, said: Floats, kernel: Kernel) -> Floats:
    """Weights (L, D) of a kernel ridge regression, scaled: the mean length of what it expects here is one."""
    weights = kernel_ridge(kernel, inputs, said, PENALTY * mean_eigenvalue(inputs.T @ inputs))
    return weights / max(float(np.linalg.norm(inputs @ weights, axis=1).mean()), 1e-9)
