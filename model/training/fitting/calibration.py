"""Fitting the curves of `model.compose.calibration` to hits of queries to a captioned set."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from model.bundle import CalibrationConfig, CalibrationCurve
from model.compose.calibration import calibrate, curve_name
from model.data.datasets import CaptionDataset
from model.evaluation.calibration import Hits, collect_hits, measure_curve
from model.space import JointSpace

Vectors = npt.NDArray[np.float32]

KNOTS = 12
"""Bins by which the shape of a curve is corrected."""
_LEAST_HITS = 100
_FLAT = 1e-6


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
        curves[name] = fit_curve(fitting)
        errors[name] = round(measure_curve(curves[name], measuring).error, 4)
    return CalibrationConfig(
        curves=curves,
        errors=errors,
        fitted_on=f"{dataset.name}, {dataset.split} split, {len(dataset.items):,} photographs: half for the fit, "
        "half for the errors",
    )


def fit_curve(hits: Hits) -> CalibrationCurve:
    """The curve that fits these hits."""
    return _bend(_fit(hits), hits)


def _fit(hits: Hits) -> CalibrationCurve:
    """Logistic regression with Platt's smoothed targets, by which no probability becomes 0 or 1.

    The L2 penalty is on weights of standardised features: it keeps those of traits small where few hits, or traits that
    hardly change, say nothing of them.
    """
    features = np.column_stack([hits.cosine, hits.traits])  # (n, 1 + T)
    positives = int(hits.right.sum())
    negatives = len(hits.right) - positives
    target = np.where(hits.right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    # A target between 0 and 1 is a right hit and a wrong one, weighted by it.
    model = LogisticRegression().fit(
        np.concatenate([scaled, scaled]),
        np.repeat([True, False], len(scaled)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    weights = model.coef_[0] / scaler.scale_
    intercept = float(model.intercept_[0] - weights @ scaler.mean_)
    slope, *others = (float(weight) for weight in weights)
    if slope <= 0:  # nothing to be learned from so few hits: the same probability for all
        share = (positives + 1) / (len(hits.right) + 2)
        return CalibrationCurve(slope=_FLAT, intercept=float(np.log(share / (1 - share))))
    usual = tuple(hits.traits.mean(axis=0).tolist())
    return CalibrationCurve(slope=slope, intercept=intercept, weights=tuple(others), usual=usual)


def _bend(curve: CalibrationCurve, hits: Hits) -> CalibrationCurve:
    """Correct a logistic curve by isotonic regression on the shares that were right in a few bins of equal mass."""
    estimated = calibrate(curve, hits.cosine, hits.traits)
    bins = np.array_split(np.argsort(estimated, kind="stable"), KNOTS)
    if min(map(len, bins)) < _LEAST_HITS:
        return curve  # too few to correct anything by
    sizes = np.array([len(rows) for rows in bins])
    before = np.array([estimated[rows].mean() for rows in bins])
    after = np.array([hits.right[rows].mean() for rows in bins])
    levels = IsotonicRegression().fit_transform(before, after, sample_weight=sizes)
    inner = []
    for level in np.unique(levels[(levels > 0) & (levels < 1)]):  # one knot where bins were pooled
        pooled = levels == level
        inner.append((float(np.average(before[pooled], weights=sizes[pooled])), float(level)))
    knots = tuple((round(x, 6), round(y, 6)) for x, y in ((0.0, 0.0), *inner, (1.0, 1.0)))
    rising = all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(knots))
    return curve.model_copy(update={"bend": knots}) if rising else curve
