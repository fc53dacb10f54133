"""What the language model is told of photographs."""

from __future__ import annotations

import numpy as np
import pytest

from model.captioner.ngram_weights import Regression
from model.concepts import Kernel


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global CaptionSet, Contents, reduced, torch
    import torch

    from model.training.captioner.contents import Contents, reduced
    from model.training.captioner.data import CaptionSet


DIMENSION = 8


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _captions(seed: int, learnable: bool) -> CaptionSet:
    """Eighty images along two axes, with two captions each that lie along two others, or anywhere."""
    generator = np.random.default_rng(seed)
    kinds = np.arange(80) % 2
    images, said = generator.normal(scale=0.05, size=(2, 80, DIMENSION))
    images[np.arange(80), kinds] += 1
    said[np.arange(80), 4 + kinds] += learnable
    texts = np.repeat(said, 2, axis=0) + generator.normal(scale=0.01, size=(160, DIMENSION))
    return CaptionSet([], [], [], np.repeat(np.arange(80), 2), _unit(images), _unit(texts))


def _kernel(images: np.ndarray, sharpness: float = 1.0) -> Kernel:
    centred = _unit(images - images.mean(axis=0))
    return Kernel(sharpness * np.eye(DIMENSION, dtype=np.float32), np.float32(sharpness) * centred)


def test_what_people_are_expected_to_write_joins_the_image() -> None:
    captions, new = _captions(0, True), _captions(1, True)
    contents = Contents.learn(captions, _kernel(captions.images), 0.5, seed=7)
    for told, images in (
        (contents.photographs, captions.images),
        (contents.of(torch.from_numpy(new.images)), new.images),
    ):
        np.testing.assert_allclose(told.norm(dim=1), 1, rtol=1e-5)
        own = _unit(images - captions.images.mean(axis=0))
        assert (told.numpy() * own).sum(axis=1).min() > 0.8
        sides = told[:, 4] - told[:, 5]  # the captions of even images lie along the one, of odd ones along the other
        assert sides[::2].min() > 0.2
        assert sides[1::2].max() < -0.2


def test_a_training_photograph_is_told_nothing_that_only_its_own_captions_say() -> None:
    captions = _captions(2, False)
    kernel = _kernel(captions.images, sharpness=8)
    contents = Contents.learn(captions, kernel, 1.0, seed=7)
    assert contents.expected is not None
    own = _unit(captions.images - captions.images.mean(axis=0))
    said = _unit((captions.texts - captions.texts.mean(axis=0)).reshape(80, 2, DIMENSION).mean(axis=1))
    memorised = (_unit(contents.expected(kernel.features(own))) * said).sum(axis=1).mean()
    told = contents.photographs.numpy() - own
    assert memorised > 0.3
    assert (_unit(told) * said).sum(axis=1).mean() < memorised / 3


def test_without_a_kernel_or_a_weight_only_the_image_counts() -> None:
    captions = _captions(0, True)
    own = _unit(captions.images - captions.images.mean(axis=0))
    for kernel, weight in ((None, 0.5), (_kernel(captions.images), 0.0)):
        contents = Contents.learn(captions, kernel, weight, seed=7)
        assert contents.expected is None
        assert contents.weight == 0
        np.testing.assert_allclose(contents.photographs, own, atol=1e-6)
        np.testing.assert_allclose(contents.of(torch.from_numpy(captions.images)), own, atol=1e-6)


def test_a_regression_of_full_rank_stays_as_it_is_and_is_stored_in_8_bits() -> None:
    generator = np.random.default_rng(0)
    inputs, weights = generator.normal(size=(50, 6)), generator.normal(size=(6, 4))
    mean = generator.normal(size=4)
    whole = reduced(mean, weights, inputs.T @ inputs, 4)
    expected = mean + inputs @ weights
    np.testing.assert_allclose(whole(inputs.astype(np.float32)), expected, atol=1e-4)
    stored = whole.to_arrays("a.")
    assert stored["a.left"].dtype == np.int8
    again = Regression.from_arrays(stored, "a.")
    np.testing.assert_allclose(again(inputs.astype(np.float32)), expected, atol=0.1)
    first = reduced(mean, weights, inputs.T @ inputs, 1)
    assert first.left.shape == (6, 1)
    error = np.linalg.norm(first(inputs.astype(np.float32)) - expected)
    assert error <= np.linalg.norm(np.linalg.svd(inputs @ weights, compute_uv=False)[1:]) * 1.01, "the best of its rank"
