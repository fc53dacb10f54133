"""Calibration: the curve and its inverse, and the traits of a query."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from model.bundle import CalibrationConfig, CalibrationCurve, CompositionConfig
from model.compose.arithmetic import LearnedComposition, Operand
from model.compose.calibration import QueryKind, calibrate, find_curve, lowest_cosine, sentence_traits, sum_traits
from model.space import JointSpace

CURVE = CalibrationCurve(slope=10, intercept=-4, weights=(1.5,), usual=(0.4,))


def test_probabilities_rise_with_the_cosine_and_with_a_trait() -> None:
    values = calibrate(CURVE, [-1, 0, 0.4, 1])
    assert (np.diff(values) > 0).all()
    assert ((values > 0) & (values < 1)).all()
    assert calibrate(CURVE, 0.4, [1]) > calibrate(CURVE, 0.4, [0.2])


def test_a_query_of_which_other_traits_or_none_are_known_is_a_usual_one() -> None:
    assert calibrate(CURVE, 0.4) == calibrate(CURVE, 0.4, CURVE.usual) == calibrate(CURVE, 0.4, (3.0, 2.0))
    assert lowest_cosine(CURVE, 0.4) == lowest_cosine(CURVE, 0.4, CURVE.usual)


def test_each_hit_may_have_traits_of_its_own() -> None:
    both = calibrate(CURVE, [0.2, 0.4], [[1.0], [0.5]])
    assert both.tolist() == [calibrate(CURVE, 0.2, (1.0,)), calibrate(CURVE, 0.4, (0.5,))]


def test_a_curve_of_format_version_3_means_what_it_meant() -> None:
    old = CalibrationCurve.model_validate({"slope": 10, "intercept": -4, "brevity": 1.5})
    assert calibrate(old, 0.4, (1 / 3,)) == pytest.approx(1 / (1 + np.exp(-(10 * 0.4 - 4 + 1.5 / 3))))
    assert calibrate(old, 0.4) == calibrate(old, 0.4, (1.0,))


def test_every_trait_has_a_weight() -> None:
    with pytest.raises(ValidationError, match="1 weights for 2 traits"):
        CalibrationCurve(slope=10, intercept=-4, weights=(1.5,), usual=(0.4, 0.2))


@pytest.mark.parametrize("traits", [(), (1.0,), (0.1,)])
@pytest.mark.parametrize("curve", [CURVE, CURVE.model_copy(update={"bend": ((0, 0), (0.2, 0.4), (0.7, 0.6), (1, 1))})])
def test_the_lowest_cosine_is_the_inverse(curve: CalibrationCurve, traits: tuple[float, ...]) -> None:
    for chance in (0.01, 0.3, 0.5, 0.9):
        assert calibrate(curve, lowest_cosine(curve, chance, traits), traits) == pytest.approx(chance)
    assert lowest_cosine(CURVE, 0.0) == -np.inf
    assert lowest_cosine(CURVE, 1.0) == np.inf


def test_a_sum_of_a_kind_without_a_curve_is_a_usual_one_of_the_others() -> None:
    composed = CalibrationCurve(slope=10, intercept=-4, weights=(2.0, -1.0), usual=(0.4, 0.2))
    config = CalibrationConfig(curves={"composed_to_images": composed}, errors={}, fitted_on="made")
    for kind in ("attributes", "words"):
        curve = find_curve(config, kind, "images")
        assert curve is not None
        assert calibrate(curve, 0.3, (6.0, 7.0)) == pytest.approx(float(calibrate(composed, 0.3, composed.usual)))
    assert find_curve(config, "sentence", "images") is None
    assert find_curve(config, "attributes", "sentences") is None


def test_the_trait_of_a_sentence_is_its_known_content(space: JointSpace) -> None:
    for text, trait in (("a dog on the beach", 1 / 2), ("a dog and a zzyzx", 1.0), ("the", 1.0)):
        assert sentence_traits(text, space.unknown_words(text)) == (trait,)


def test_kinds_of_sums(space: JointSpace) -> None:
    config = CompositionConfig(heads=("dog",), pairs={"black": {"dog": 9}, "brown": {"dog": 7}, "cat": {"": 90}})
    ruled = space.with_config(
        space.config.model_copy(update={"composition": config}), LearnedComposition.none(1, space.dimension)
    )
    photo, sentence = space.embed_texts(["a black dog runs", "a dog on grass"])
    image: Operand = (photo, 1.0, "image")
    stored: Operand = (sentence, 1.0, "text")
    black: Operand = ("black", -1.0, "text")
    brown: Operand = ("brown", 1.0, "text")
    dog: Operand = ("dog", 1.0, "text")
    snow: Operand = ("snow", 1.0, "text")

    def of(*terms: Operand, stored_text: str | None = "a dog on grass") -> tuple[QueryKind | None, tuple[float, ...]]:
        texts = [
            operand if isinstance(operand, str) else stored_text if kind == "text" else None
            for operand, _, kind in terms
        ]
        unknown = [() if text is None else space.unknown_words(text) for text in texts]
        return sum_traits(terms, ruled.composition(terms), texts, unknown)

    assert of(image, image) == of(image, black) == of(image, snow, ("Snow", -1.0, "text")) == ("image", ())
    assert of(("dog", -1.0, "text")) == (None, ())
    assert of(dog, ("red car", 1.0, "text"), black) == ("words", (1 / 3,))
    assert of(dog, snow, ("cat", 1.0, "text"), ("cat", -1.0, "text")) == ("words", (1 / 2,))
    assert of(stored, snow) == ("words", (1 / 3,))
    assert of(stored, snow, stored_text=None) == ("words", ())
    assert of(image, black, brown) == ("attributes", pytest.approx((np.log(7.5), np.log(9.5))))
    assert of(image, stored, snow, stored_text=None) == ("composed", ())
    for terms, words, exchanged in (
        ([image, snow], 1, (0.0, 0.0)),
        ([image, snow, dog], 2, (0.0, 0.0)),
        ([image, ("dog", -1.0, "text"), ("cat", 1.0, "text")], 1, (1.0, 1.0)),
        ([image, black, ("a brown dog", 1.0, "text")], 2, (1.0, 1.0)),
        ([image, black, brown, stored], 3, (1.0, 0.0)),
    ):
        kind, (brevity, kept, *others) = of(*terms)
        assert (kind, brevity, tuple(others)) == ("composed", 1 / words, pytest.approx(exchanged))
        assert kept == pytest.approx(float(ruled.compose(terms) @ photo), abs=1e-5)
