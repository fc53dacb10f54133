"""The shipped joint space: what callers rely on."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from model.errors import DegenerateQueryError, EmptyTextError, NoKnownWordsError
from model.space import JointSpace
from model.towers.config import ENCODERS
from model.towers.words import WordTower


@pytest.fixture(scope="module")
def space(shipped_space: JointSpace) -> JointSpace:
    return shipped_space


@pytest.fixture(scope="module")
def images(photos: dict[str, bytes]) -> dict[str, Image.Image]:
    return {name: Image.open(io.BytesIO(data)).convert("RGB") for name, data in photos.items()}


def test_vectors_are_float32_unit_rows(space: JointSpace, images: dict[str, Image.Image]) -> None:
    for vectors in (
        space.embed_images(list(images.values())),
        space.embed_texts(["a dog runs", "snow"]),
        space.embed_operands(["blue car", "red"]),
    ):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == space.dimension
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(space: JointSpace) -> None:
    assert space.embed_images([]).shape == (0, space.dimension)
    assert space.embed_texts([]).shape == (0, space.dimension)


def test_a_batch_gives_what_single_calls_give(space: JointSpace, images: dict[str, Image.Image]) -> None:
    pictures = [*images.values(), *images.values()]
    together = space.embed_images(pictures)
    alone = np.concatenate([space.embed_images([picture]) for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    texts = ["a dog runs through the snow", "cat", "two men in red shirts play football on a green field"]
    for encoder in space.text.encoders:
        together = space.embed_texts(texts, encoder)
        alone = np.concatenate([space.embed_texts([text], encoder) for text in texts])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_sentences_find_their_photographs(space: JointSpace, images: dict[str, Image.Image]) -> None:
    wanted = {
        "a green field of grass": "grass",
        "a man with a camera in a field": "cameraman",
        "a woman in an orange suit smiles": "astronaut",
        "a brick wall": "bricks",
    }
    names = list(images)
    vectors = space.embed_images(list(images.values()))
    scores = space.embed_texts(list(wanted)) @ vectors.T
    found = [
        wanted[text] in [names[place] for place in np.argsort(-row)[:3]]
        for text, row in zip(wanted, scores, strict=True)
    ]
    assert sum(found) >= 3


def test_order_of_words_counts_for_the_lstm_alone(space: JointSpace) -> None:
    texts = ["a dog chases a man", "a man chases a dog"]
    bag = space.embed_texts(texts, "bag")
    np.testing.assert_allclose(bag[0], bag[1], atol=1e-5)
    if "lstm" in space.config.text.encoders:
        lstm = space.embed_texts(texts, "lstm")
        assert np.abs(lstm[0] - lstm[1]).max() > 1e-3


def test_a_text_that_names_a_kind_leans_to_its_looks_and_others_do_not(space: JointSpace) -> None:
    names = space.config.text.names
    assert names is not None
    looks = load_file(space.bundle.path / ENCODERS)["names.looks.weight"].astype(np.float32).T
    plain = space.with_config(space.config)
    assert isinstance(space.text, WordTower)
    plain.text = copy(space.text)
    plain.text._names = None
    spelled = {
        "espresso": "espresso",
        "strawberries": "strawberry",
        "a school bus": "school bus",
        "ice bear": "ice bear",
    }
    for text, name in spelled.items():
        (kind,) = [kind for kind, known in enumerate(names.names) if name in known]
        (leaning,), (sentence,) = space.embed_texts([text]), plain.embed_texts([text])
        expected = sentence + names.weight * looks[kind]
        np.testing.assert_allclose(leaning, expected / np.linalg.norm(expected), atol=0.02)
        assert leaning @ looks[kind] > sentence @ looks[kind] + 0.2
    (typewriter,), (before,) = space.embed_texts(["typewriter"]), plain.embed_texts(["typewriter"])
    keyboard = looks[[kind[0] for kind in names.names].index("typewriter keyboard")]
    assert typewriter @ keyboard > before @ keyboard, "no caption taught this word: it may be the name's"
    texts = [
        "snow",
        "a helmet",
        "a cat and a bear",
        "boards",
        "zebra and espresso",
        "an orange shirt",
        "a girl in a pink shirt sits on a bench and reads a book",
        "giraffe",
    ]
    np.testing.assert_array_equal(space.embed_texts(texts), plain.embed_texts(texts))
    np.testing.assert_array_equal(space.embed_operands(["espresso"]), plain.embed_operands(["espresso"]))
    assert space.embed_operands([]).shape == (0, space.dimension)


def test_unknown_words_are_told_and_left_out(space: JointSpace) -> None:
    assert space.unknown_words("a dog and a zzyzx") == ["zzyzx"]
    np.testing.assert_array_equal(space.embed_texts(["dog zzyzx"]), space.embed_texts(["dog"]))
    with pytest.raises(NoKnownWordsError):
        space.embed_texts(["dog", "zzyzx"])
    with pytest.raises(EmptyTextError):
        space.embed_texts(["..."])


def test_the_nearest_word_of_a_word_is_itself(space: JointSpace) -> None:
    words = ["dog", "snow", "red"]
    nearest = space.nearest_words(space.embed_operands(words), 3)
    assert [row[0][0] for row in nearest] == words
    for row in nearest:
        assert len(row) == 3
        assert row[0][1] == pytest.approx(1, abs=1e-4)
        assert [score for _, score in row] == sorted((score for _, score in row), reverse=True)


def test_compose_adds_subtracts_and_ignores_order(space: JointSpace, images: dict[str, Image.Image]) -> None:
    image = space.embed_images([images["cat"]])[0]
    terms = [(image, 1.0, "image"), ("blue", -1.0, "text"), ("red", 1.0, "text")]
    composed = space.compose(terms)  # type: ignore[arg-type]
    assert composed.shape == (space.dimension,)
    assert np.linalg.norm(composed) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(composed, space.compose(terms[::-1]), atol=1e-6)  # type: ignore[arg-type]
    blue, red = space.embed_operands(["blue", "red"])
    assert composed @ red > image @ red
    assert composed @ (red - blue) > image @ (red - blue)


def test_weights_matter_and_a_single_term_is_itself(space: JointSpace) -> None:
    np.testing.assert_allclose(space.compose([("dog", 3.0, "text")]), space.embed_operands(["dog"])[0], atol=1e-5)
    heavy = space.compose([("dog", 3.0, "text"), ("snow", 1.0, "text")])
    dog, snow = space.embed_operands(["dog", "snow"])
    assert heavy @ dog > heavy @ snow


@pytest.mark.parametrize("terms", [[], [("dog", 1.0, "text"), ("dog", -1.0, "text")], [("dog", 0.0, "text")]])
def test_a_sum_near_zero_is_an_error(space: JointSpace, terms: list[tuple[str, float, str]]) -> None:
    with pytest.raises(DegenerateQueryError):
        space.compose(terms)  # type: ignore[arg-type]


def test_threads_may_share_a_space(space: JointSpace, images: dict[str, Image.Image]) -> None:
    expected_image = space.embed_images([images["cat"]])
    expected_text = space.embed_texts(["a dog runs"])

    def work(number: int) -> bool:
        if number % 2:
            return bool(np.allclose(space.embed_images([images["cat"]]), expected_image, atol=1e-5))
        return bool(np.allclose(space.embed_texts(["a dog runs"]), expected_text, atol=1e-5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(12)))
