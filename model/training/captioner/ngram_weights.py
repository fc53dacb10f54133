"""Fitting what is expected of an image (model/captioner/ngram_weights.py) on the training captions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.captioner.ngram_weights import Expectation, Regression
from model.captioner.trigrams import MAX_ORDER, Table, ngrams_of, pack
from model.concepts import Kernel
from model.training.captioner.contents import reduced
from model.training.fitting.kernel_ridge import kernel_ridge, mean_eigenvalue, tiny

MINIMUM_IMAGES, MINIMUM_IMAGES_OF_WORDS = 20, 8
"""Images whose captions must have an n-gram, or a content word, for it to be predicted."""
RANK = 512
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties of a linear regression that are tried, in units of the mean eigenvalue."""
KERNEL_PENALTY = 1.0
"""That of one by a kernel. A larger one predicts what people write a little better, and ranks captions worse."""

Floats = npt.NDArray[np.float64]
Captions = Sequence[Sequence[Sequence[int]]]


def fit_expectation(
    contents: Floats,
    captions: Captions,
    dev_contents: Floats,
    dev_captions: Captions,
    frequencies: Table,
    images: int,
    content_words: frozenset[int],
    kernel: Kernel | None = None,
    content: Regression | None = None,
) -> Expectation:
    """Ridge regression from centred image vectors (n, D); the penalty that predicts development captions best.

    `content_words`: numbers of those whose chances are predicted. `kernel`: its features are regressed on, not vectors.
    `content`: the regression to the vector of captions, which becomes a part of the expectation.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    for own in captions:
        counts.update({ngram for caption in own for ngram in ngrams_of(caption)})
    known = sorted((int(pack(ngram)), ngram) for ngram, count in counts.items() if count >= MINIMUM_IMAGES)
    places = {ngram: place for place, (_, ngram) in enumerate(known)}
    keys = np.array([key for key, _ in known], dtype=np.int64)
    words = sorted(word for word in content_words if counts[(word,)] >= MINIMUM_IMAGES_OF_WORDS)
    targets, dev_targets = (
        np.concatenate([_targets(own, places, frequencies, images), _shares(own, words)], axis=1)
        for own in (captions, dev_captions)
    )
    mean = targets.mean(axis=0) if len(targets) else np.zeros(targets.shape[1])
    inputs = contents
    if kernel is None:
        chosen = _linear(contents, targets - mean, dev_contents, dev_targets - mean)
    else:
        inputs = kernel.features(contents.astype(np.float32)).astype(np.float64)
        chosen = kernel_ridge(kernel, inputs, targets - mean, KERNEL_PENALTY)
    return Expectation(keys, np.array(words, dtype=np.int64), reduced(mean, chosen, inputs.T @ inputs, RANK), content)


def _linear(inputs: Floats, targets: Floats, dev_inputs: Floats, dev_targets: Floats) -> Floats:
    """Weights (D, O) of a linear ridge regression, with the penalty that predicts development targets best."""
    gram = inputs.T @ inputs
    found = [
        np.asarray(np.linalg.solve(gram + size, inputs.T @ targets), dtype=np.float64)
        for size in (penalty * mean_eigenvalue(gram) * np.eye(len(gram)) + tiny(gram) for penalty in PENALTIES)
    ]
    return min(found, key=lambda weights: float(((dev_inputs @ weights - dev_targets) ** 2).sum()))


def _shares(captions: Captions, words: Sequence[int]) -> Floats:
    """Which share of each image's captions say each word (n, W)."""
    places = {word: place for place, word in enumerate(words)}
    shares = np.zeros((len(captions), len(words)))
    for row, own in enumerate(captions):
        for caption in own:
            shares[row, [places[word] for word in {*caption} if word in places]] += 1 / len(own)
    return shares


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
