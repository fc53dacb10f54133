"""What a captioner knows of its training captions beside the network: counts, means and expectations; no caption."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from model.captioner.structures import Structures
from model.captioner.trigrams import KneserNeyTrigrams, Table, to_arrays
from model.concepts import Kernel
from model.training.captioner.contents import Contents, unit
from model.training.captioner.data import CaptionSet
from model.training.captioner.ngram_weights import fit_expectation

Vectors = npt.NDArray[np.float32]
LANDMARKS = 128
"""Means of groups of training images: what is far from all of them is unfamiliar."""


def learn_statistics(
    train: CaptionSet,
    dev: CaptionSet,
    structures: Structures,
    contents: Contents,
    frequencies: Table,
    kernel: Kernel | None,
) -> dict[str, Tensor]:
    """Tensors by their names in `captioner.safetensors`: all but the network's.

    `kernel`: that of the detectors of concepts, where there are any.
    """
    trigrams = KneserNeyTrigrams.train(train.words, len(structures.words))
    expectation = fit_expectation(
        _centred(train, contents),
        train.of_images(),
        _centred(dev, contents),
        dev.of_images(),
        frequencies,
        len(train.images),
        structures.content_words(),
        kernel,
        contents.expected,
    )
    arrays = {**to_arrays(trigrams, frequencies), **expectation.to_arrays()}
    return {
        "centre.images": contents.images.half(),
        "landmarks": torch.from_numpy(find_landmarks(train.images)).half(),
        "structures.vectors": _structure_vectors(structures, train, contents.texts).half(),
        **{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()},
    }


def find_landmarks(images: Vectors) -> Vectors:
    """Unit means (LANDMARKS, D) of groups of unit vectors (n, D), found by k-means; fewer where there are fewer."""
    count = min(LANDMARKS, len(np.unique(images, axis=0)))
    centres = KMeans(count, n_init=1, max_iter=30, random_state=0).fit(images).cluster_centers_
    landmarks: Vectors = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
    return landmarks


def _centred(captions: CaptionSet, contents: Contents) -> npt.NDArray[np.float64]:
    return unit(torch.from_numpy(captions.images) - contents.images).numpy().astype(np.float64)


def _structure_vectors(structures: Structures, captions: CaptionSet, centre: Tensor) -> Tensor:
    """Mean content (S, D) of the training captions of each structure."""
    places = {structure.tags: place for place, structure in enumerate(structures.structures)}
    found = [(places[key], row) for row, tags in enumerate(captions.tags) if (key := " ".join(tags)) in places]
    rows = torch.tensor([row for _, row in found], dtype=torch.long)
    contents = unit(torch.from_numpy(captions.texts)[rows] - centre)
    sums = torch.zeros(len(places), contents.shape[1])
    sums.index_add_(0, torch.tensor([place for place, _ in found], dtype=torch.long), contents)
    counts = torch.tensor([float(structure.count) for structure in structures.structures])[:, None]
    return sums / counts.clamp_min(1)
