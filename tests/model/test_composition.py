"""The rule of arithmetic: what it completes, what it keeps, and what does not matter to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bundle import CompositionConfig
from model.composition import Composer, Term
from model.errors import DegenerateQueryError, NoKnownWordsError
from model.space import JointSpace

CONFIG = CompositionConfig(
    heads=("dog", "shirt", "no-such-word"),
    pairs={
        "black": {"dog": 900, "shirt": 300, "": 1},
        "brown": {"dog": 700, "shirt": 50, "": 1},
        "cat": {"": 80},
        "dog": {"": 4000},
    },
    phrases=1,
)


@pytest.fixture(scope="module")
def composer(space: JointSpace) -> Composer:
    return space.composer_with(CONFIG)


@pytest.fixture(scope="module")
def dog(space: JointSpace) -> np.ndarray:
    """As good as a photograph of a black dog on grass."""
    vector: np.ndarray = space.embed_texts(["a black dog runs through the grass"])[0]
    return vector


def swap(image: np.ndarray, old: str, new: str) -> list[Term]:
    return [(image, 1.0, "image"), (old, -1.0, "text"), (new, 1.0, "text")]


def test_heads_that_the_vocabulary_lacks_are_left_out(composer: Composer) -> None:
    assert composer.heads == ["dog", "shirt"]


def test_an_attribute_is_completed_by_what_the_image_shows(
    space: JointSpace, composer: Composer, dog: np.ndarray
) -> None:
    parts = composer.parts(swap(dog, "black", "brown"))
    (brown_dog,) = space.embed_texts(["a brown dog"])
    assert parts[2] @ brown_dog / np.linalg.norm(parts[2]) == pytest.approx(1, abs=1e-5)


def test_a_thing_needs_no_completion(space: JointSpace, composer: Composer, dog: np.ndarray) -> None:
    parts = composer.parts(swap(dog, "dog", "cat"))
    (cat,) = space.embed_operands(["cat"])
    assert np.linalg.norm(parts[0]) / np.linalg.norm(parts[2]) == pytest.approx(CONFIG.thing_image_weight, abs=1e-5)
    assert parts[2] @ cat / np.linalg.norm(parts[2]) == pytest.approx(1, abs=1e-5)


def test_parts_add_up_to_a_unit_vector_whatever_their_order(composer: Composer, dog: np.ndarray) -> None:
    terms = [*swap(dog, "black", "brown"), ("snow", 0.5, "text")]
    parts = composer.parts(terms)  # type: ignore[arg-type]
    assert parts.shape == (4, len(dog))
    assert np.linalg.norm(parts.sum(axis=0)) == pytest.approx(1, abs=1e-5)
    order = [2, 0, 3, 1]
    turned = composer.parts([terms[at] for at in order])  # type: ignore[misc]
    np.testing.assert_allclose(turned, parts[order], atol=1e-6)


@pytest.mark.parametrize(
    "terms",
    [
        [("dog", 1.0, "text"), ("snow", 1.0, "text"), ("black", -1.0, "text")],
        ["image", ("snow", 1.0, "text")],
        ["image"],
    ],
)
def test_where_nothing_is_exchanged_it_is_the_plain_sum(
    space: JointSpace, composer: Composer, dog: np.ndarray, terms: list[Term | str]
) -> None:
    real: list[Term] = [(dog, 1.0, "image") if isinstance(term, str) else term for term in terms]
    units = [space.embed_operands([one])[0] if isinstance(one, str) else one for one, _, _ in real]
    plain = np.sum([weight * unit for unit, (_, weight, _) in zip(units, real, strict=True)], axis=0)
    np.testing.assert_allclose(composer.parts(real).sum(axis=0), plain / np.linalg.norm(plain), atol=1e-5)


def test_a_sum_without_direction_is_an_error(composer: Composer, dog: np.ndarray) -> None:
    for terms in ([], [(dog, 1.0, "image"), (dog, -1.0, "image")], [("dog", 1.0, "text"), ("dog", -1.0, "text")]):
        with pytest.raises(DegenerateQueryError):
            composer.parts(terms)  # type: ignore[arg-type]


def test_an_unknown_operand_is_an_error(composer: Composer, dog: np.ndarray) -> None:
    with pytest.raises(NoKnownWordsError):
        composer.parts(swap(dog, "zzyzx", "brown"))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["black", "brown", "cat", "a red car", "snow"]), st.floats(-2, 2).filter(bool)),
        min_size=1,
        max_size=5,
    )
)
def test_every_sum_has_length_one_or_is_refused(
    composer: Composer, dog: np.ndarray, words: list[tuple[str, float]]
) -> None:
    terms: list[Term] = [(dog, 1.0, "image"), *((word, weight, "text") for word, weight in words)]
    try:
        parts = composer.parts(terms)
    except DegenerateQueryError:
        return
    assert np.linalg.norm(parts.sum(axis=0)) == pytest.approx(1, abs=1e-4)
