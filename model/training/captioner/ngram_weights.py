"""Fitting the expected weights of n-grams (model/captioner/ngram_weights.py) on the training captions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.captioner.ngram_weights import Expectation
from model.captioner.trigrams import MAX_ORDER, Table, ngrams_of, pack

MINIMUM_IMAGES = 12
"""Images whose captions must have an n-gram for its weight to be predicted."""
RANK = 160
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties that are tried, in units of the mean eigenvalue."""

Floats = npt.NDArray[np.float64]
Captions = Sequence[Sequence[Sequence[int]]]


def fit_expectation(
    contents: Floats, captions: Captions, dev_contents: Floats, dev_captions: Captions, frequencies: Table, images: int
) -> Expectation:
    """Ridge regression from centred image vectors (n, D); the penalty that predicts development captions best."""
    counts: Counter[tuple[int, ...]] = Counter()
    for own in captions:
        counts.update({ngram for caption in own for ngram in ngrams_of(caption)})
    known = sorted((int(pack(ngram)), ngram) for ngram, count in counts.items() if count >= MINIMUM_IMAGES)
    places = {ngram: place for place, (_, ngram) in enumerate(known)}
    keys = np.array([key for key, _ in known], dtype=np.int64)
    targets = _targets(captions, places, frequencies, images)
    dev_targets = _targets(dev_captions, places, frequencies, images)
    mean = targets.mean(axis=0) if len(targets) else np.zeros(len(keys))
    gram = contents.T @ contents
    right_side = contents.T @ (targets - mean)
    scale = float(np.trace(gram)) / len(gram)
    best: tuple[float, Floats] | None = None
    for penalty in PENALTIES:
        solved = np.linalg.solve(gram + penalty * max(scale, 1e-9) * np.eye(len(gram)), right_side)
        weights: Floats = solved.astype(np.float64)
        predicted = mean + dev_contents @ weights
        error = float(((predicted - dev_targets) ** 2).sum())
        if best is None or error < best[0]:
            best = error, weights
    chosen = best[1] if best is not None else np.zeros_like(right_side)
    left, values, right = np.linalg.svd(chosen, full_matrices=False)
    rank = min(RANK, len(values))
    root = np.sqrt(values[:rank])
    return Expectation(
        keys,
        mean.astype(np.float32),
        (left[:, :rank] * root).astype(np.float32),
        (root[:, None] * right[:rank]).astype(np.float32),
    )


def _targets(captions: Captions, places: dict[tuple[int, ...], int], frequencies: Table, images: int) -> Floats:
    """Mean over an image's captions of the unit tf-idf vectors of each order, as one row (n, P)."""
    table = np.zeros((len(captions), len(places)))
    weights: dict[tuple[int, ...], float] = {}
    log_images = math.log(max(2, images))
    for row, own in enumerate(captions):
        for caption in own:
            counts = Counter(ngrams_of(caption))
            for ngram in counts:
                if ngram not in weights:
                    frequency = float(frequencies[pack(np.array([ngram]))][0])
                    weights[ngram] = max(0.0, log_images - math.log(frequency))
            norms = [0.0] * (MAX_ORDER + 1)
            for ngram, count in counts.items():
                norms[len(ngram)] += (count * weights[ngram]) ** 2
            for ngram, count in counts.items():
                if ngram in places and norms[len(ngram)] > 0:
                    table[row, places[ngram]] += count * weights[ngram] / math.sqrt(norms[len(ngram)]) / len(own)
    return table
