"""The confidence of hits: the probability that each is right, by its score and the kind of the query."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from app.problems import Problem
from app.search.query_vector import Question
from app.search.results import SearchOptions
from index import Target
from model.bundle import BundleConfig, CalibrationCurve
from model.compose.calibration import calibrate, find_curve, lowest_cosine


class Confidence:
    """Probabilities of relevance, by the calibration of a bundle if it has one."""

    def __init__(self, config: BundleConfig) -> None:
        self._calibration = config.calibration
        self._bundle = config.name

    def of(self, question: Question, target: Target, scores: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """The probabilities (n,) that hits with these scores (n,) are relevant; None without a curve for the query."""
        curve = self._curve(question, target)
        return None if curve is None else question.known * calibrate(curve, scores, question.traits)

    def lowest_score(self, question: Question, options: SearchOptions) -> float | None:
        """The lowest score that the options allow.

        Problem calibration_missing without a curve for the query, invalid_request for a query that only subtracts.
        """
        if options.min_confidence is None:
            return options.min_score
        if question.kind is None:
            raise Problem(
                "invalid_request",
                "min_confidence needs something to look for, and this query only subtracts. Add a term without a "
                "minus, or do without min_confidence.",
            )
        curve = self._curve(question, options.target)
        if curve is None:
            raise self.missing("min_confidence")
        wanted = lowest_cosine(curve, options.min_confidence / question.known, question.traits)
        bounds = [bound for bound in (options.min_score, wanted) if bound is not None and bound > -math.inf]
        return min(max(bounds), 2.0) if bounds else None

    def missing(self, wanted: str) -> Problem:
        """What to do about a bundle that has no curve for a query of which `wanted` needs one."""
        return Problem(
            "calibration_missing",
            f"{wanted} needs a calibration, and the bundle {self._bundle} has none for such a query. Do without it, or "
            "fit one: visem train calibration --data DIR --model BUNDLE",
        )

    def _curve(self, question: Question, target: Target) -> CalibrationCurve | None:
        if self._calibration is None or question.kind is None:
            return None
        return find_curve(self._calibration, question.kind, target)
