"""Calibrate a cosine into a probability of relevance.

    probability = bend(1 / (1 + exp(-(slope * cosine + intercept + weights . traits))))

There is one logistic curve for each kind of query and each target, after Platt, "Probabilistic Outputs for Support
Vector Machines" (1999). `bend` is a rising, piecewise linear function by which an isotonic regression corrects the
curve's shape (Zadrozny and Elkan, 2002). The traits are what else about a query predicts relevance:

    sentence    one text: the reciprocal of its known content words (*dog* lies farther from any image than a caption)
    image       images, with nothing put in: none
    words       a sum of texts: as for a sentence, of all that is put in
    attributes  an image, with one attribute for another: how common are what is put and what is taken (`Exchange`)
    composed    any other sum of images and texts: the same reciprocal, the cosine with the images' part of the sum,
                and 1 and `Exchange.alone` if words are exchanged, else 0 and 0

**What the probability means.** It is the probability that people who describe the hit would mention everything that the
query asks for, *in a library as large as the set of the fit, about 1,000 photographs, in which something answers the
query*. In a library where nothing does, the true probability is lower; in one full of answers it is higher: 0.02 means
"nothing here matches", and 0.5 means "look at it". Captions leave much unsaid, so it rather understates how often a
person would agree. `model.evaluation.calibration` says what the curves are fitted to and measured on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.bundle import CalibrationConfig, CalibrationCurve
from model.compose.arithmetic import EPSILON, Composition, Operand
from model.compose.attributes import is_attribute
from model.content_words import content_words

Floats = npt.NDArray[np.float64]
QueryKind = Literal["sentence", "image", "words", "attributes", "composed"]
CalibratedTarget = Literal["images", "sentences"]


def find_curve(config: CalibrationConfig, kind: QueryKind, target: CalibratedTarget) -> CalibrationCurve | None:
    """The curve for such queries. For a sum of a kind that has none, that of any other sum, as a usual one of these."""
    curve = config.curves.get(curve_name(kind, target))
    if curve is None and kind in ("words", "attributes"):
        curve = config.curves.get(curve_name("composed", target))
        if curve is not None:  # its traits are others
            shift = float(_shift(curve, ()))
            curve = curve.model_copy(update={"intercept": curve.intercept + shift, "weights": (), "usual": ()})
    return curve


def curve_name(kind: QueryKind, target: CalibratedTarget) -> str:
    """The key of a curve in `CalibrationConfig.curves`."""
    return f"{kind}_to_{target}"


def calibrate(curve: CalibrationCurve, cosine: npt.ArrayLike, traits: npt.ArrayLike = ()) -> Floats:
    """Probabilities (...,) that hits with these cosines (...,) are relevant.

    `traits` are those of the query (T,) or of each hit (..., T). A query without the traits of the curve counts as a
    usual one.
    """
    logit = curve.slope * np.asarray(cosine, dtype=np.float64) + curve.intercept + _shift(curve, traits)
    probability: Floats = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    if curve.bend:
        probability = np.asarray(np.interp(probability, *_knots(curve.bend)))
    return probability


def lowest_cosine(curve: CalibrationCurve, probability: float, traits: Sequence[float] = ()) -> float:
    """The cosine from which on a hit has at least this probability; -inf for 0, inf for 1."""
    if probability <= 0:
        return -np.inf
    if probability >= 1:
        return np.inf
    if curve.bend:
        before, after = _knots(curve.bend)
        probability = float(np.clip(np.interp(probability, after, before), 1e-12, 1 - 1e-12))
    logit = float(np.log(probability / (1 - probability)))
    return (logit - curve.intercept - float(_shift(curve, traits))) / curve.slope


def sentence_traits(text: str, unknown: Collection[str]) -> tuple[float, ...]:
    """The trait of a sentence: the reciprocal of the number of its content words that the model knows, at most 1.

    `unknown`: the words that it does not know (`JointSpace.unknown_words`), here and below.
    """
    return (1 / max(1, len(content_words(text)) - len(set(unknown))),)


def sum_traits(
    operands: Sequence[Operand],
    composition: Composition,
    texts: Sequence[str | None],
    unknown: Sequence[Collection[str]],
) -> tuple[QueryKind | None, tuple[float, ...]]:
    """What kind of query a sum of n operands is, and its traits.

    No traits where they cannot be told; no kind where there is no probability, as nothing is asked for.

    `texts` (n,): the words of each operand, those of a stored sentence too; None if unknown. `unknown`
    (n,): those of them that the model does not know.
    """
    images = [at for at, (_, _, kind) in enumerate(operands) if kind == "image"]
    said = [(at, weight) for at, weight in composition.merged if at not in images]
    put = [at for at, weight in said if weight > 0]
    if not put:
        return ("image" if images else None), ()
    known = [text for at in put if (text := texts[at]) is not None]
    words = [word for at in put for word in unknown[at]]
    traits = sentence_traits(" ".join(known), words) if len(known) == len(put) else ()
    if not images:
        return "words", traits
    exchange = composition.exchange
    if exchange is not None and all(
        isinstance(operands[at][0], str) and is_attribute(str(texts[at])) for at, _ in said
    ):
        return "attributes", (exchange.put, exchange.taken)
    part = composition.parts[images].sum(axis=0)
    kept = float(part @ composition.vector) / max(float(np.linalg.norm(part)), EPSILON)
    exchanged = (0.0, 0.0) if exchange is None else (1.0, exchange.alone)
    return "composed", (*traits, kept, *exchanged) if traits else ()


def known_share(text: str, unknown: Collection[str]) -> float:
    """The share of a text's content words that the model knows, above 0; 1 where it has none."""
    missing = len(set(unknown))
    total = max(len(content_words(text)), missing)
    return max(total - missing, 0.5) / total if missing else 1.0


@lru_cache
def _knots(bend: tuple[tuple[float, float], ...]) -> tuple[Floats, Floats]:
    """Where the pieces of a bend begin and end: probabilities before (n,), and after (n,)."""
    before, after = np.array(bend, dtype=np.float64).T
    return before, after


def _shift(curve: CalibrationCurve, traits: npt.ArrayLike) -> Floats:
    """What traits (..., T) add to the logit: (...,)."""
    values, weights = np.asarray(traits, dtype=np.float64), np.array(curve.weights)
    shift: Floats = (values if values.shape[-1:] == weights.shape else np.array(curve.usual)) @ weights
    return shift
