"""Fitting how candidates are ranked, and how far a caption is to be trusted, on development data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from model.captioner.captioner import CONFIDENCE_FEATURES, Pool
from model.captioner.ranking import FEATURES, weighted
from model.evaluation.captions import Cider, bleu

Floats = npt.NDArray[np.float64]
RIGHT = 0.5
"""A caption with at least this CIDEr against its references counts as right."""
PENALTY = 1e-3
"""Of the squared weights of a confidence, against the mean log-loss of a caption."""


def rewards(
    pools: Sequence[Pool], references: Sequence[Sequence[Sequence[int]]], cider: Cider
) -> tuple[list[Floats], list[Floats]]:
    """CIDEr of every candidate, and what ranking is fitted to: CIDEr and BLEU (mean of its four orders) together."""
    ciders, sums = [], []
    for pool, own in zip(pools, references, strict=True):
        vectors = [cider.vector(one) for one in own]
        scores = np.array([cider.score(sentence, vectors) for sentence in pool.sentences])
        bleus = np.array([np.mean(bleu([sentence], [own])) for sentence in pool.sentences])
        ciders.append(scores)
        sums.append(scores + bleus)
    return ciders, sums


def fit_ranking(pools: Sequence[Pool], gains: Sequence[Floats], steps: int = 400) -> dict[str, float]:
    """Weights that give the first candidate of each pool the largest expected gain.

    The choice is softened to a softmax over the pool, so that the expectation can be differentiated.
    """
    usable = [(pool.features, gain) for pool, gain in zip(pools, gains, strict=True) if len(gain) > 1]
    if not usable:
        return {"mean_log_probability": 1.0}
    stacked = np.concatenate([features for features, _ in usable])
    means, scales = stacked.mean(axis=0), np.maximum(stacked.std(axis=0), 1e-3)
    longest = max(len(gain) for _, gain in usable)
    features = np.zeros((len(usable), longest, len(FEATURES)))
    gain_table = np.zeros((len(usable), longest))
    mask = np.full((len(usable), longest), -1e9)
    for row, (own, gain) in enumerate(usable):
        features[row, : len(gain)] = (own - means) / scales
        gain_table[row, : len(gain)] = gain
        mask[row, : len(gain)] = 0
    inputs, gain_tensor, masks = (torch.from_numpy(part).float() for part in (features, gain_table, mask))
    start = torch.zeros(len(FEATURES))
    start[FEATURES.index("consensus")] = start[FEATURES.index("similarity")] = 1.0
    weights = start.requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(steps):
        probability = torch.softmax(inputs @ weights * 2 + masks, dim=1)
        loss = -(probability * gain_tensor).sum(dim=1).mean() + 1e-3 * weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = weights.detach().numpy().astype(np.float64) / scales
    return {name: float(weight) for name, weight in zip(FEATURES, fitted, strict=True)}


def first_places(pools: Sequence[Pool], ranking: Mapping[str, float]) -> dict[int, int]:
    """The place of the caption that comes first, for the row of each pool that has captions."""
    return {row: int(np.argmax(weighted(pool.features, ranking))) for row, pool in enumerate(pools) if pool.sentences}


def confidence_inputs(pools: Sequence[Pool], first: Mapping[int, int]) -> Floats:
    """`CONFIDENCE_FEATURES` of the captions that come first (m, 4): their places, by the rows of their pools."""
    places = [FEATURES.index(name) for name in CONFIDENCE_FEATURES[:-1]]
    return np.array(
        [[*pools[row].features[one, places], pools[row].familiarity] for row, one in first.items()]
    ).reshape(len(first), len(CONFIDENCE_FEATURES))


def fit_confidence(inputs: Floats, right: npt.NDArray[np.bool_], of_nothing: Floats) -> dict[str, float]:
    """Logistic weights that tell right captions from wrong ones and from captions of pictures of nothing.

    `inputs` (m, 4) with `right` (m,) are photographs; `of_nothing` (p, 4) weigh as much as all photographs together.
    """
    stacked = np.concatenate([inputs, of_nothing])  # (m + p, 4)
    targets = np.concatenate([right, np.zeros(len(of_nothing), dtype=bool)])
    if not targets.any():  # nothing is ever right
        return {"bias": float(np.log(1 / (len(targets) + 1))), **dict.fromkeys(CONFIDENCE_FEATURES, 0.0)}
    importance = np.ones(len(stacked))
    importance[len(inputs) :] = len(inputs) / max(1, len(of_nothing))
    scaler = StandardScaler().fit(stacked)
    model = LogisticRegression(C=1 / (2 * PENALTY * len(stacked)))
    model.fit(scaler.transform(stacked), targets, sample_weight=importance)
    weights = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0] - weights @ scaler.mean_)
    return {"bias": bias, **{name: float(one) for name, one in zip(CONFIDENCE_FEATURES, weights, strict=True)}}
