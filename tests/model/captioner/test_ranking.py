"""What is expected of an image, and what candidates are ranked by."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle, shipped_bundle, write_config
from model.captioner import Captioner
from model.captioner.ngram_weights import Expectation, Expected
from model.captioner.ranking import FEATURES, word_features
from model.captioner.trigrams import Table, pack
from model.captioner_config import CAPTIONER
from model.concepts import Kernel
from model.errors import BundleError
from model.runtime.tensors import MappedTensors


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global fit_expectation, save_file
    from safetensors.numpy import save_file

    from model.training.captioner.ngram_weights import fit_expectation


DOG, BOAT, RED = 5, 7, 9


def _expected(chances: list[float], usual: list[float]) -> Expected:
    words = np.array([DOG, BOAT, RED][: len(chances)], dtype=np.int64)
    nothing = Table(np.zeros(0, dtype=np.int64), np.zeros(0), 0.0)
    return Expected(nothing, Table(words, np.arange(len(words)), -1), np.array(chances), np.array(usual), np.zeros(0))


def test_words_of_a_caption_are_compared_with_what_is_said_of_the_image_and_what_is_not_said() -> None:
    features = word_features([(3, DOG, DOG, RED), (3, BOAT), (3, 4)], _expected([0.8, 0.1, 0.2], [0.4, 0.2, 0.2]))
    double, half = np.log(2.0), np.log(0.5)
    np.testing.assert_allclose(features[0], [np.log(0.8) + np.log(0.2), 0.0, double, 0.1])
    np.testing.assert_allclose(features[1], [np.log(0.1), half, half, 1.0])
    np.testing.assert_allclose(features[2], [0.0, 0.0, 0.0, 1.1])


def test_where_no_words_are_expected_nothing_is_missed() -> None:
    assert word_features([(3, DOG), (4,)], _expected([], [])).tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("by_kernel", [True, False])
def test_what_is_expected_of_new_images_is_what_was_said_of_similar_ones(by_kernel: bool) -> None:
    generator = np.random.default_rng(0)

    def contents() -> np.ndarray:
        vectors = generator.normal(scale=0.1, size=(60, 6))
        vectors[np.arange(60), [0, 1] * 30] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    captions = [[[3, DOG, 4], [DOG, 4]], [[3, BOAT]]] * 30
    counts = {(DOG,): 30.0, (BOAT,): 30.0, (3,): 60.0}
    train, dev, new = contents(), contents(), contents()
    kernel = Kernel(np.eye(6, dtype=np.float32), train[:20].astype(np.float32)) if by_kernel else None
    fitted = fit_expectation(
        train, captions, dev, captions, Table.of(counts, 1.0, np.float32), 60, frozenset({DOG, BOAT, RED}), kernel
    )
    assert fitted.words.tolist() == [DOG, BOAT], "nobody says the third"
    stored = Expectation.from_arrays(fitted.to_arrays())
    inputs = new.astype(np.float32)
    found = stored.of(inputs if kernel is None else kernel.features(inputs))
    chances = np.array([one.chances for one in found])  # (60, 2)
    right = np.eye(2, dtype=bool)[[0, 1] * 30]
    assert chances[right].min() > 0.6 > 0.4 > chances[~right].max()
    boats = np.array([one.ngrams[pack(np.array([[BOAT]]))][0] for one in found])
    assert boats[1::2].min() > boats[::2].max()
    exact = fitted.of(inputs if kernel is None else kernel.features(inputs))
    np.testing.assert_allclose(chances, [one.chances for one in exact], atol=0.02)  # they are stored in 8 bits


def _with_tensors(bundle: Path, tensors: dict[str, np.ndarray], **captioner: object) -> Bundle:
    """A bundle with other tensors of its captioner, and another section."""
    config = Bundle.load_config(bundle)
    assert config.captioner is not None
    save_file(tensors, bundle / CAPTIONER)
    write_config(bundle, config.model_copy(update={"captioner": config.captioner.model_copy(update=captioner)}))
    return Bundle.load(bundle)


def _tensors(bundle: Path) -> dict[str, np.ndarray]:
    return {name: tensor.copy() for name, tensor in MappedTensors(bundle / CAPTIONER).items()}


def test_captioners_from_before_words_were_expected_rank_by_ten_features(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))
    tensors = _tensors(bundle)
    keys = tensors["expected.keys"]
    old = {name: tensor for name, tensor in tensors.items() if not name.startswith("expected.")}
    old["expected.keys"] = keys
    generator = np.random.default_rng(0)
    dimension = Bundle.load_config(bundle).dimension
    for name, shape in (("mean", (len(keys),)), ("left", (dimension, 8)), ("right", (8, len(keys)))):
        old[f"expected.{name}"] = generator.normal(size=shape).astype(np.float16)
    _with_tensors(
        bundle, old, kernel=False, expected_content=0.0, guidance=0.0, ranking=dict.fromkeys(FEATURES[:10], 1.0)
    )
    captioner = Captioner.load(bundle, device="cpu")
    image = generator.normal(size=(1, dimension)).astype(np.float32)
    pool = captioner.pools(image / np.linalg.norm(image))[0]
    assert np.ptp(pool.features[:, FEATURES.index("expected")]) > 0
    assert not pool.features[:, FEATURES.index("word_chances") : FEATURES.index("missed") + 1].any()
    assert len(captioner.caption(image / np.linalg.norm(image))[0]) == 5


def test_an_expectation_of_another_kernel_is_refused(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))
    tensors = _tensors(bundle)
    tensors["expected.left"] = tensors["expected.left"][:-1].copy()
    _with_tensors(bundle, tensors)
    with pytest.raises(BundleError, match=r"expected\.left") as caught:
        Captioner.load(bundle, device="cpu")
    assert caught.value.code == "bundle_corrupted"


def test_a_captioner_that_lacks_the_content_of_its_settings_is_refused(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))
    tensors = {name: tensor for name, tensor in _tensors(bundle).items() if not name.startswith("expected.content.")}
    _with_tensors(bundle, tensors)
    with pytest.raises(BundleError, match="expected content") as caught:
        Captioner.load(bundle, device="cpu")
    assert caught.value.code == "bundle_corrupted"
    _with_tensors(bundle, tensors, expected_content=0.0)  # as one of format version 9
    assert Captioner.load(bundle, device="cpu")
