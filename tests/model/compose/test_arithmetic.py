"""The rule of arithmetic: what it completes, what it keeps, and what does not matter to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bundle import CompositionConfig
from model.compose.arithmetic import Composer, LearnedComposition, Operand
from model.data.datasets import CaptionDataset, CaptionedImage
from model.errors import BundleError, DegenerateQueryError, NoKnownWordsError
from model.space import JointSpace


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global count_phrases, learn_composition
    from model.training.fitting.composition import count_phrases
    from model.training.fitting.phrases import learn_composition


CONFIG = CompositionConfig(
    heads=("dog", "shirt", "xqztw"),
    pairs={
        "black": {"dog": 900, "shirt": 300, "": 1},
        "brown": {"dog": 700, "shirt": 50, "": 1},
        "cat": {"": 80},
        "dog": {"": 4000},
    },
    phrases=1,
)


@pytest.fixture(scope="module")
def space(shipped_space: JointSpace) -> JointSpace:
    return shipped_space


@pytest.fixture(scope="module")
def composer(space: JointSpace) -> Composer:
    return space.composer_with(CONFIG, LearnedComposition.none(len(CONFIG.heads), space.dimension))


@pytest.fixture(scope="module")
def dog(space: JointSpace) -> np.ndarray:
    """As good as a photograph of a black dog on grass."""
    vector: np.ndarray = space.embed_texts(["a black dog runs through the grass"])[0]
    return vector


def swap(image: np.ndarray, old: str, new: str) -> list[Operand]:
    return [(image, 1.0, "image"), (old, -1.0, "text"), (new, 1.0, "text")]


def test_heads_that_the_vocabulary_lacks_are_left_out(composer: Composer) -> None:
    assert composer.heads == ["dog", "shirt"]


def test_an_attribute_is_completed_by_what_the_image_shows(
    space: JointSpace, composer: Composer, dog: np.ndarray
) -> None:
    parts = composer(swap(dog, "black", "brown")).parts
    (brown_dog,) = space.embed_texts(["brown dog"])
    assert parts[2] @ brown_dog / np.linalg.norm(parts[2]) == pytest.approx(1, abs=1e-5)


def test_a_thing_needs_no_completion(space: JointSpace, composer: Composer, dog: np.ndarray) -> None:
    parts = composer(swap(dog, "dog", "cat")).parts
    (cat,) = space.embed_operands(["cat"])
    assert np.linalg.norm(parts[0]) / np.linalg.norm(parts[2]) == pytest.approx(CONFIG.thing_image_weight, abs=1e-5)
    assert parts[2] @ cat / np.linalg.norm(parts[2]) == pytest.approx(1, abs=1e-5)


def test_parts_add_up_to_a_unit_vector_whatever_their_order(composer: Composer, dog: np.ndarray) -> None:
    terms: list[Operand] = [*swap(dog, "black", "brown"), ("snow", 0.5, "text")]
    parts = composer(terms).parts
    assert parts.shape == (4, len(dog))
    assert np.linalg.norm(parts.sum(axis=0)) == pytest.approx(1, abs=1e-5)
    order = [2, 0, 3, 1]
    turned = composer([terms[at] for at in order]).parts
    np.testing.assert_allclose(turned, parts[order], atol=1e-6)


@pytest.mark.parametrize(
    "terms",
    [
        [("dog", 1.0, "text"), ("snow", 1.0, "text"), ("black", -1.0, "text")],
        ["image", ("snow", 1.0, "text")],
        ["image", ("black", -1.0, "text"), ("black", 1.0, "text")],
        ["image", ("black", -1.0, "text"), ("black", 0.5, "text")],
        ["image", ("Black", -1.0, "text"), ("black!", 1.0, "text")],
        ["image"],
    ],
)
def test_where_nothing_is_exchanged_it_is_the_plain_sum(
    space: JointSpace, composer: Composer, dog: np.ndarray, terms: list[Operand | str]
) -> None:
    real: list[Operand] = [(dog, 1.0, "image") if isinstance(term, str) else term for term in terms]
    units = [space.embed_operands([one])[0] if isinstance(one, str) else one for one, _, _ in real]
    plain = np.sum([weight * unit for unit, (_, weight, _) in zip(units, real, strict=True)], axis=0)
    np.testing.assert_allclose(composer(real).vector, plain / np.linalg.norm(plain), atol=1e-5)


def test_equal_texts_are_one_term(composer: Composer, dog: np.ndarray) -> None:
    once = composer(swap(dog, "black", "brown")).parts
    twice: list[Operand] = [*swap(dog, "black", "brown"), ("black!", -1.0, "text"), ("Black", 1.0, "text")]
    parts = composer(twice).parts
    np.testing.assert_allclose(parts.sum(axis=0), once.sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(parts[[1, 3, 4]].sum(axis=0), once[1], atol=1e-5)


def test_an_exchange_says_how_common_its_phrases_are(composer: Composer, dog: np.ndarray) -> None:
    """With one likely head, the logarithms of its counts: those of *brown dog* and *black dog* in CONFIG."""
    exchanged = swap(dog, "black", "brown")
    one = composer(exchanged).exchange
    assert one is not None
    assert (one.put, one.taken, one.alone) == pytest.approx((np.log(700.5), np.log(900.5), 0))
    two = composer([*exchanged, ("black", 0.5, "text"), ("red", 1.0, "text")]).exchange
    assert two is not None
    assert (two.put, two.taken) == pytest.approx(((np.log(700.5) + np.log(0.5)) / 2, np.log(900.5)))


@pytest.mark.parametrize(("old", "new"), [("dog", "cat"), ("black dog", "brown dog"), ("black", "a brown dog")])
def test_things_and_whole_phrases_are_exchanged_as_they_are(
    composer: Composer, dog: np.ndarray, old: str, new: str
) -> None:
    exchange = composer(swap(dog, old, new)).exchange
    assert exchange is not None
    assert exchange.alone == 1


def test_other_sums_exchange_nothing(composer: Composer, dog: np.ndarray) -> None:
    assert composer([(dog, 1.0, "image"), ("brown", 1.0, "text")]).exchange is None
    assert composer([("black", -1.0, "text"), ("dog", 1.0, "text"), ("brown", 1.0, "text")]).exchange is None


def test_an_exchange_by_a_small_weight_is_a_query(composer: Composer, dog: np.ndarray) -> None:
    terms: list[Operand] = [(dog, 1.0, "image"), ("black", -1.0, "text"), ("brown", 0.01, "text")]
    assert np.linalg.norm(composer(terms).vector) == pytest.approx(1, abs=1e-5)


def test_a_sum_without_direction_is_an_error(composer: Composer, dog: np.ndarray) -> None:
    images: list[Operand] = [(dog, 1.0, "image"), (dog, -1.0, "image")]
    words: list[Operand] = [("dog", 1.0, "text"), ("dog", -1.0, "text")]
    for terms in ([], images, words):
        with pytest.raises(DegenerateQueryError):
            composer(terms)


def test_an_unknown_operand_is_an_error(composer: Composer, dog: np.ndarray) -> None:
    with pytest.raises(NoKnownWordsError):
        composer(swap(dog, "zzyzx", "brown"))


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
    terms: list[Operand] = [(dog, 1.0, "image"), *((word, weight, "text") for word, weight in words)]
    try:
        parts = composer(terms).parts
    except DegenerateQueryError:
        return
    assert np.linalg.norm(parts.sum(axis=0)) == pytest.approx(1, abs=1e-4)


def test_what_was_seen_moves_probability_between_heads_but_not_away_from_none(
    space: JointSpace, composer: Composer, dog: np.ndarray
) -> None:
    learned = LearnedComposition.none(len(CONFIG.heads), space.dimension)
    learned.heads[1] = 20 * dog  # such photographs have black shirts
    learned.bias[:] = -7  # as a regression over heads alone leaves it: nothing there says what it is for none
    before, after = composer.head_fit(dog, ["black"]), space.composer_with(CONFIG, learned).head_fit(dog, ["black"])
    assert after[-1] == pytest.approx(before[-1])
    assert np.argmax(before) == 0
    assert np.argmax(after) == 1
    parts = space.composer_with(CONFIG, learned)(swap(dog, "black", "brown")).parts
    (brown_shirt,) = space.embed_texts(["brown shirt"])
    assert parts[2] @ brown_shirt / np.linalg.norm(parts[2]) == pytest.approx(1, abs=1e-5)


def test_a_phrase_is_also_what_its_photographs_look_like(space: JointSpace, dog: np.ndarray) -> None:
    learned = LearnedComposition.none(len(CONFIG.heads), space.dimension)
    learned.looks[:] = np.eye(space.dimension)[::-1]
    parts = space.composer_with(CONFIG, learned)(swap(dog, "black", "brown")).parts
    (said,) = space.embed_texts(["brown dog"])
    wanted = said + CONFIG.looks * said[::-1]
    assert parts[2] @ wanted / np.linalg.norm(parts[2]) / np.linalg.norm(wanted) == pytest.approx(1, abs=1e-5)


def test_it_learns_from_photographs_which_thing_a_colour_belongs_to(space: JointSpace, tmp_path: Path) -> None:
    """Vectors that say *dog* or *shirt*; the counts say neither."""
    captions = [f"a {colour} {thing} here" for thing in ("dog", "shirt") for colour in ("black", "brown", "red")] * 6
    items = tuple(CaptionedImage(tmp_path / f"{at}.jpg", (caption,)) for at, caption in enumerate(captions))
    train = CaptionDataset("made", "train", items)
    images = space.embed_texts(captions)
    counted = count_phrases(train).model_copy(update={"temperature": 1e6})  # what the words' own vectors say aside
    assert set(counted.heads) == {"dog", "shirt"}
    learned, taken = learn_composition(space, train, images, counted)
    assert taken >= 0
    composer = space.composer_with(counted, learned)
    for thing in counted.heads:
        fit = composer.head_fit(space.embed_texts([f"the {thing}"])[0], ["black"])
        assert composer.heads[int(np.argmax(fit[:-1]))] == thing
    kept = tmp_path / "composition.safetensors"
    learned.save(kept)
    again = LearnedComposition.load(kept, len(counted.heads), space.dimension)
    np.testing.assert_allclose(again.looks, learned.looks, atol=1e-3)


def test_a_word_like_one_is_no_head(tmp_path: Path) -> None:
    items = (CaptionedImage(tmp_path / "1.jpg", ("a black one for a brown dog",)),)
    assert count_phrases(CaptionDataset("made", "train", items)).heads == ("dog",)


def test_a_file_of_another_rule_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "composition.safetensors"
    LearnedComposition.none(3, 8).save(file)
    for heads, dimension in ((2, 8), (3, 9)):
        with pytest.raises(BundleError, match="does not fit"):
            LearnedComposition.load(file, heads, dimension)
    file.write_bytes(b"no tensors")
    with pytest.raises(BundleError, match="cannot be read"):
        LearnedComposition.load(file, 3, 8)
