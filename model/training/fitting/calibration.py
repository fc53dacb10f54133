"""The curves of `model.calibration`, fitted to hits of queries to a captioned set."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from model.bundle import CalibrationConfig, CalibrationCurve
from model.calibration import calibrate, curve_name
from model.datasets import CaptionDataset
from model.evaluation.calibration import Hits, collect_hits, measure_curve
from model.space import JointSpace

Vectors = npt.NDArray[np.float32]

KNOTS = 12
"""Bins by which the shape of a curve is corrected."""
RIDGE = 1.0
"""Keeps the weights of traits small where few hits, or traits that hardly change, say nothing of them."""
_LEAST_HITS = 100
_FLAT = 1e-6
_TINY = 1e-6


def fit_calibration(space: JointSpace, dataset: CaptionDataset, image_vectors: Vectors) -> CalibrationConfig:
    """Fit every curve on the queries of every other photograph of `dataset`, and measure it on those of the rest.

    `image_vectors` (n, D) are those of the dataset's photographs, in its order. A kind without queries (a set without
    attributes has none that exchange them) gets no curve.
    """
    curves, errors = {}, {}
    for kind, target, hits in collect_hits(space, dataset, image_vectors):
        name = curve_name(kind, target)
        fitting, measuring = hits.fitting, hits.measuring
        if not fitting.right.any() or not len(measuring.right):
            continue
        curves[name] = _bend(_fit(fitting), fitting)
        errors[name] = round(measure_curve(curves[name], measuring).error, 4)
    return CalibrationConfig(
        curves=curves,
        errors=errors,
        fitted_on=f"{dataset.name}, {dataset.split} split, {len(dataset.items):,} photographs: half for the fit, "
        "half for the errors",
    )


def _fit(hits: Hits) -> CalibrationCurve:
    """The maximum likelihood, by Newton's method, with Platt's smoothed targets: no chance becomes 0 or 1."""
    usual = hits.traits.mean(axis=0)
    features = np.column_stack([hits.cosine, np.ones_like(hits.cosine), hits.traits - usual])
    ridge = np.array([_TINY, _TINY, *np.full(len(usual), RIDGE)])
    positives = int(hits.right.sum())
    negatives = len(hits.right) - positives
    target = np.where(hits.right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -500, 500)))
        gradient = features.T @ (chance - target) + ridge * weights
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    slope, intercept, *others = (float(weight) for weight in weights)
    if slope <= 0:  # nothing to be learned from so few hits: the same chance for all
        share = (positives + 1) / (len(hits.right) + 2)
        return CalibrationCurve(slope=_FLAT, intercept=float(np.log(share / (1 - share))))
    intercept -= float(usual @ others)
    return CalibrationCurve(slope=slope, intercept=intercept, weights=tuple(others), usual=tuple(usual.tolist()))


def _bend(curve: CalibrationCurve, hits: Hits) -> CalibrationCurve:
    """Correct a logistic curve by what happened in a few bins of equal mass, pooled until they rise."""
    estimated = calibrate(curve, hits.cosine, hits.traits)
    order = np.argsort(estimated, kind="stable")
    pools: list[tuple[float, float, int]] = []  # mean chance, share right, hits
    for rows in np.array_split(order, KNOTS):
        if len(rows) < _LEAST_HITS:
            return curve  # too few to correct anything by
        pools.append((float(estimated[rows].mean()), float(hits.right[rows].mean()), len(rows)))
        while len(pools) > 1 and pools[-1][1] <= pools[-2][1]:
            (x, y, n), (last_x, last_y, last_n) = pools.pop(-2), pools.pop()
            pools.append(
                ((x * n + last_x * last_n) / (n + last_n), (y * n + last_y * last_n) / (n + last_n), n + last_n)
            )
    inner = [(x, y) for x, y, _ in pools if 0 < x < 1 and 0 < y < 1]
    knots = tuple((round(x, 6), round(y, 6)) for x, y in ((0.0, 0.0), *inner, (1.0, 1.0)))
    rising = all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(knots))
    return curve.model_copy(update={"bend": knots}) if rising else curve
