"""Chances: the curve and its inverse, what counts as right, and the error that is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from model.bundle import CalibrationCurve
from model.calibration import (
    HITS,
    OTHERS,
    chances,
    collect_hits,
    fit_calibration,
    lowest_cosine,
    measure_calibration,
    reliability,
    sentence_traits,
)
from model.datasets import CaptionDataset, CaptionedImage
from model.space import JointSpace

CURVE = CalibrationCurve(slope=10, intercept=-4, weights=(1.5,), usual=(0.4,))
SENTENCES = (
    "a black dog runs through the grass",
    "a brown dog jumps over a log",
    "a man in a red shirt rides a bike",
    "a girl in a blue dress dances",
    "two children play in the snow",
    "a boy swims in the water",
    "a white dog runs on the beach",
    "a woman climbs a rock",
    "a brown dog runs in the snow",
    "a man in a blue shirt climbs",
)


@pytest.fixture(scope="module")
def dataset() -> CaptionDataset:
    items = tuple(
        CaptionedImage(Path(f"{at}.jpg"), (text, f"there {text.split()[1]} is")) for at, text in enumerate(SENTENCES)
    )
    return CaptionDataset("made", "dev", items)


@pytest.fixture(scope="module")
def images(space: JointSpace) -> np.ndarray:
    """Vectors near those of the sentences, with noise."""
    noise = np.random.default_rng(0).normal(scale=0.03, size=(len(SENTENCES), space.dimension))
    vectors = space.embed_texts(SENTENCES) + noise
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


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


def test_the_error_is_none_for_true_chances_and_large_for_wrong_ones() -> None:
    random = np.random.default_rng(0)
    chance = random.uniform(size=40_000)
    right = random.uniform(size=40_000) < chance
    assert reliability(chance, right).error < 0.02
    assert reliability(1 - chance, right).error > 0.4
    assert reliability(np.full(100, 0.5), np.zeros(100)).error == pytest.approx(0.5)


def test_right_is_what_says_nothing_else(space: JointSpace, dataset: CaptionDataset, images: np.ndarray) -> None:
    hits = dict(collect_hits(space, dataset, images))
    assert set(hits) == {
        f"{kind}_to_{target}" for kind in ("sentence", "image", "composed") for target in ("images", "sentences")
    }
    found = hits["sentence_to_images"]
    assert found.right.any()
    assert not found.right.all()
    # Every whole caption finds its own photograph on a page of ten out of ten.
    assert found.right[: 2 * len(SENTENCES) * 10].reshape(-1, 10).any(axis=1).all()
    assert found.first.all()  # below that page there is nothing
    assert found.cosine[found.right].mean() > found.cosine[~found.right].mean()


def test_a_fit_also_sees_hits_from_below_the_first_page_which_errors_are_not_measured_on(
    space: JointSpace, dataset: CaptionDataset, images: np.ndarray
) -> None:
    hits = dict(collect_hits(space, dataset, images))["image_to_sentences"]  # of 20 sentences, ten are below
    assert len(hits.first) == len(images) * (HITS + OTHERS)
    assert hits.first.sum() == len(images) * HITS
    per_query = hits.cosine.reshape(len(images), -1)
    assert (per_query[:, :HITS].min(axis=1) >= per_query[:, HITS:].max(axis=1)).all()
    assert (~hits.fitting.first).any()
    assert hits.measuring.first.all()
    assert set(hits.measuring.half) == {1}


def test_a_fit_is_better_than_chance_and_measured_on_the_other_half(
    space: JointSpace, dataset: CaptionDataset, images: np.ndarray
) -> None:
    config = fit_calibration(space, dataset, images)
    assert config.curves.keys() == config.errors.keys()
    curve = config.curves["sentence_to_images"]
    assert chances(curve, 0.9) > chances(curve, 0.1)
    calibrated = space.with_config(space.config.model_copy(update={"calibration": config}))
    measured = measure_calibration(calibrated, dataset, images)
    assert {name: round(one.error, 4) for name, one in measured.items()} == config.errors
    assert calibrated.id == space.id


def test_content_words_are_the_known_ones_that_say_something(space: JointSpace) -> None:
    assert sentence_traits(space, "a dog on the beach") == (1 / 2,)
    assert sentence_traits(space, "a dog and a zzyzx") == (1.0,)
    assert sentence_traits(space, "the") == (1.0,)
