"""What the rule of arithmetic learns from the training photographs (`model.compose.arithmetic.LearnedComposition`)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import Ridge

from model.bundle import CompositionConfig
from model.compose.arithmetic import SMOOTHING, LearnedComposition
from model.compose.attributes import VALUES
from model.content_words import FUNCTION_WORDS
from model.data.datasets import CaptionDataset
from model.space import JointSpace
from model.training.fitting.discriminants import tell_apart
from model.words import tokenise

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

MIN_PHOTOGRAPHS = 5
"""Phrases that fewer photographs show are left out: their mean says little."""
RIDGE = 0.3
PENALTY = 1e-4
"""Of the squared weights of the softmax regression, against the mean log-loss of a pair."""
_FEW = 20
"""A phrase with so many photographs counts half of one with very many."""
_ITERATIONS = 150


def learn_composition(
    space: JointSpace, train: CaptionDataset, image_vectors: Vectors, counted: CompositionConfig
) -> tuple[LearnedComposition, float]:
    """Learn the heads and the looks, and what the counts of the removed word weigh against the image (`taken`).

    `image_vectors` (n, D) are those of `train`'s photographs, in its order; `counted` has the heads and the counts.
    """
    heads, bias, taken = _learn_heads(train, image_vectors, counted)
    return LearnedComposition(heads, bias, _learn_looks(space, train, image_vectors)), taken


def _learn_heads(train: CaptionDataset, images: Vectors, counted: CompositionConfig) -> tuple[Vectors, Vectors, float]:
    """Softmax regression: before which head does an attribute stand in the captions of a photograph?

        P(h | x, A) = softmax_h(w_h . x + b_h + taken * log n(A, h))

    A convex problem, solved by L-BFGS. Returns (H, D), (H,) and `taken`. Every head stands behind some attribute.
    """
    place = {head: at for at, head in enumerate(counted.heads)}
    pairs = [
        (row, attribute, place[head])
        for row, item in enumerate(train.items)
        for attribute, head in sorted(_adjacent(item.captions))
        if attribute in VALUES and head in place
    ]
    logarithms = {
        attribute: np.log([counted.pairs.get(attribute, {}).get(head, 0) + SMOOTHING for head in counted.heads])
        for attribute in {attribute for _, attribute, _ in pairs}
    }
    shown = torch.from_numpy(images[[row for row, _, _ in pairs]])
    counts = torch.from_numpy(np.stack([logarithms[attribute] for _, attribute, _ in pairs])).float()
    wanted = torch.tensor([head for _, _, head in pairs])
    weights = torch.zeros(len(place), images.shape[1], requires_grad=True)
    bias = torch.zeros(len(place), requires_grad=True)
    taken = torch.ones((), requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias, taken], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = shown @ weights.T + bias + taken * counts
        value = torch.nn.functional.cross_entropy(logits, wanted) + PENALTY * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach().numpy(), bias.detach().numpy(), max(0.0, float(taken.detach()))


def _learn_looks(space: JointSpace, train: CaptionDataset, images: Vectors) -> Vectors:
    """The linear map (D, D) from a phrase's sentence vector to the direction that tells photographs of it from others.

    That direction is by linear discriminant analysis (`tell_apart`). The map is a ridge regression over the words and
    pairs of content words of the captions.
    """
    holders: dict[str, set[int]] = {}
    for row, item in enumerate(train.items):
        phrases = {f"{first} {second}" for first, second in _adjacent(item.captions)}
        phrases |= {word for caption in item.captions for word in tokenise(caption) if word not in FUNCTION_WORDS}
        for phrase in phrases:
            holders.setdefault(phrase, set()).add(row)
    known = sorted(
        phrase for phrase, rows in holders.items() if len(rows) >= MIN_PHOTOGRAPHS and not space.unknown_words(phrase)
    )
    dimension = images.shape[1]
    if not known:
        return np.zeros((dimension, dimension), np.float32)
    said = space.embed_texts(known).astype(np.float64)
    means = np.stack([images[sorted(holders[phrase])].mean(axis=0) for phrase in known]) - images.mean(axis=0)
    directions = tell_apart(images, means)
    counts = np.array([len(holders[phrase]) for phrase in known], dtype=np.float64)
    ridge = Ridge(RIDGE, fit_intercept=False).fit(said, directions, sample_weight=counts / (counts + _FEW))
    looks: npt.NDArray[np.floating] = ridge.coef_.T
    return looks.astype(np.float32)


def _adjacent(captions: tuple[str, ...]) -> set[tuple[str, str]]:
    """Content words that stand right beside each other in one of the captions."""
    return {
        (first, second)
        for caption in captions
        for first, second in pairwise(tokenise(caption))
        if first not in FUNCTION_WORDS and second not in FUNCTION_WORDS
    }
