"""Chances: the curve and its inverse, and what a query tells them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from model.bundle import CalibrationConfig, CalibrationCurve, CompositionConfig
from model.chances import chances, find_curve, lowest_cosine, sentence_traits, sum_traits
from model.composition import LearnedComposition, Term
from model.space import JointSpace

CURVE = CalibrationCurve(slope=10, intercept=-4, weights=(1.5,), usual=(0.4,))


def test_chances_rise_with_the_cosine_and_with_a_trait() -> None:
    values = chances(CURVE, [-1, 0, 0.4, 1])
    assert (np.diff(values) > 0).all()
    assert ((values > 0) & (values < 1)).all()
    assert chances(CURVE, 0.4, [1]) > chances(CURVE, 0.4, [0.2])


def test_a_query_of_which_other_traits_or_none_are_known_is_a_usual_one() -> None:
    assert chances(CURVE, 0.4) == chances(CURVE, 0.4, CURVE.usual) == chances(CURVE, 0.4, (3.0, 2.0))
    assert lowest_cosine(CURVE, 0.4) == lowest_cosine(CURVE, 0.4, CURVE.usual)


def test_each_hit_may_have_traits_of_its_own() -> None:
    both = chances(CURVE, [0.2, 0.4], [[1.0], [0.5]])
    assert both.tolist() == [chances(CURVE, 0.2, (1.0,)), chances(CURVE, 0.4, (0.5,))]


def test_a_curve_of_format_version_3_means_what_it_meant() -> None:
    old = CalibrationCurve.model_validate({"slope": 10, "intercept": -4, "brevity": 1.5})
    assert chances(old, 0.4, (1 / 3,)) == pytest.approx(1 / (1 + np.exp(-(10 * 0.4 - 4 + 1.5 / 3))))
    assert chances(old, 0.4) == chances(old, 0.4, (1.0,))


def test_every_trait_has_a_weight() -> None:
    with pytest.raises(ValidationError, match="1 weights for 2 traits"):
        CalibrationCurve(slope=10, intercept=-4, weights=(1.5,), usual=(0.4, 0.2))


@pytest.mark.parametrize("traits", [(), (1.0,), (0.1,)])
@pytest.mark.parametrize("curve", [CURVE, CURVE.model_copy(update={"bend": ((0, 0), (0.2, 0.4), (0.7, 0.6), (1, 1))})])
def test_the_lowest_cosine_is_the_inverse(curve: CalibrationCurve, traits: tuple[float, ...]) -> None:
    for chance in (0.01, 0.3, 0.5, 0.9):
        assert chances(curve, lowest_cosine(curve, chance, traits), traits) == pytest.approx(chance)
    assert lowest_cosine(CURVE, 0.0) == -np.inf
    assert lowest_cosine(CURVE, 1.0) == np.inf


def test_a_sum_of_a_kind_without_a_curve_has_that_of_any_other() -> None:
    config = CalibrationConfig(curves={"composed_to_images": CURVE}, errors={}, fitted_on="made")
    assert find_curve(config, "attributes", "images") is CURVE
    assert find_curve(config, "words", "images") is CURVE
    assert find_curve(config, "sentence", "images") is None
    assert find_curve(config, "attributes", "sentences") is None


def test_the_trait_of_a_sentence_is_its_known_content(space: JointSpace) -> None:
    assert sentence_traits(space, "a dog on the beach") == (1 / 2,)
    assert sentence_traits(space, "a dog and a zzyzx") == (1.0,)
    assert sentence_traits(space, "the") == (1.0,)


def test_kinds_of_sums(space: JointSpace) -> None:
    config = CompositionConfig(heads=("dog",), pairs={"black": {"dog": 9}, "brown": {"dog": 7}, "cat": {"": 90}})
    ruled = space.with_config(
        space.config.model_copy(update={"composition": config}), LearnedComposition.none(1, space.dimension)
    )
    photo, sentence = space.embed_texts(["a black dog runs", "a dog on grass"])
    image: Term = (photo, 1.0, "image")
    stored: Term = (sentence, 1.0, "text")
    black: Term = ("black", -1.0, "text")
    for terms, wanted in (
        ([image, image], ("image", ())),
        ([("dog", 1.0, "text"), ("red car", 1.0, "text"), black], ("words", (1 / 3,))),
        ([stored, ("dog", 1.0, "text")], ("words", ())),
        ([("dog", 1.0, "text"), stored, black], ("words", ())),
        ([image, black, ("brown", 1.0, "text")], ("attributes", pytest.approx((np.log(7.5), np.log(9.5))))),
        ([image, ("dog", -1.0, "text"), ("cat", 1.0, "text")], ("composed", (1.0, 1.0))),
        ([image, black, ("a brown dog", 1.0, "text")], ("composed", (1.0, 1.0))),
        ([image, ("snow", 1.0, "text")], ("composed", (0.0, 0.0))),
        ([image, black], ("composed", (0.0, 0.0))),
    ):
        assert sum_traits(ruled, terms, ruled.composition(terms)) == wanted  # type: ignore[arg-type]
