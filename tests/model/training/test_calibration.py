"""Calibration: which hits are looked at, what counts as right, the fit, and the error that is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.compose.calibration import calibrate, curve_name
from model.data.datasets import CaptionDataset, CaptionedImage
from model.evaluation.calibration import (
    HITS,
    OTHERS,
    Hits,
    collect_hits,
    measure_calibration,
    reliability,
)
from model.space import JointSpace


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global fit_calibration
    from model.training.fitting.calibration import fit_calibration


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
def space(shipped_space: JointSpace) -> JointSpace:
    return shipped_space


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


def collected(space: JointSpace, dataset: CaptionDataset, images: np.ndarray) -> dict[str, Hits]:
    return {curve_name(kind, target): hits for kind, target, hits in collect_hits(space, dataset, images)}


def test_the_error_is_none_for_true_probabilities_and_large_for_wrong_ones() -> None:
    random = np.random.default_rng(0)
    chance = random.uniform(size=40_000)
    right = random.uniform(size=40_000) < chance
    assert reliability(chance, right).error < 0.02
    assert reliability(1 - chance, right).error > 0.4
    assert reliability(np.full(100, 0.5), np.zeros(100)).error == pytest.approx(0.5)


def test_right_is_what_says_nothing_else(space: JointSpace, dataset: CaptionDataset, images: np.ndarray) -> None:
    hits = collected(space, dataset, images)
    kinds = ("sentence", "image", "words", "attributes", "composed")
    assert set(hits) == {f"{kind}_to_{target}" for kind in kinds for target in ("images", "sentences")}
    found = hits["sentence_to_images"]
    assert found.right.any()
    assert not found.right.all()
    # Every whole caption finds its own photograph on a page of ten out of ten.
    assert found.right[: 2 * len(SENTENCES) * 10].reshape(-1, 10).any(axis=1).all()
    assert found.on_first_page.all()  # below that page there is nothing
    assert found.cosine[found.right].mean() > found.cosine[~found.right].mean()
    for name in ("words_to_images", "attributes_to_images", "composed_to_images"):
        assert hits[name].right.any(), name
        assert not hits[name].right.all(), name
        traits = {"words_to_images": 1, "attributes_to_images": 2, "composed_to_images": 4}[name]
        assert hits[name].traits.shape == (len(hits[name].right), traits)


def test_captions_of_which_no_word_is_known_give_no_query_of_words(space: JointSpace, images: np.ndarray) -> None:
    items = tuple(CaptionedImage(Path(f"{at}.jpg"), ("zzyzx qqqzz",)) for at in range(len(images)))
    found = collected(space, CaptionDataset("made", "dev", items), images)
    assert set(found) == {"image_to_images", "image_to_sentences"}


def test_a_fit_also_sees_hits_from_below_the_first_page_which_errors_are_not_measured_on(
    space: JointSpace, dataset: CaptionDataset, images: np.ndarray
) -> None:
    hits = collected(space, dataset, images)["image_to_sentences"]  # of 20 sentences, ten are below
    assert len(hits.on_first_page) == len(images) * (HITS + OTHERS)
    assert hits.on_first_page.sum() == len(images) * HITS
    per_query = hits.cosine.reshape(len(images), -1)
    assert (per_query[:, :HITS].min(axis=1) >= per_query[:, HITS:].max(axis=1)).all()
    assert (~hits.fitting.on_first_page).any()
    assert hits.measuring.on_first_page.all()
    assert set(hits.measuring.half) == {1}


def test_a_fit_is_better_than_chance_and_measured_on_the_other_half(
    space: JointSpace, dataset: CaptionDataset, images: np.ndarray
) -> None:
    config = fit_calibration(space, dataset, images)
    assert config.curves.keys() == config.errors.keys()
    curve = config.curves["sentence_to_images"]
    assert calibrate(curve, 0.9) > calibrate(curve, 0.1)
    calibrated = space.with_config(space.config.model_copy(update={"calibration": config}))
    measured = measure_calibration(calibrated, dataset, images)
    assert {name: round(one.error, 4) for name, one in measured.items()} == config.errors
    assert calibrated.id == space.id
