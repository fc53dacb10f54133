"""Detectors of concepts: what they say of images, and how captions use it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from model.captioner.captioner import Captioner
from model.captioner.grammar import ANY_DESCRIPTION, FORBIDDEN, FREE, Demands, Grammar, Written
from model.captioner.ranking import choose
from model.captioner.scnlm import END
from model.concepts import ConceptDetector
from model.concepts_config import ConceptsConfig
from model.space import JointSpace

CONFIG = ConceptsConfig(
    words=("grass", "man"),
    people=("man",),
    calibration=(1.0, 0.0, 0.0, 0.0, -1.0),
    names=("teapot", "terrier"),
    broader=(("pot",), ("dog", "animal")),
    plain=("dog",),
    sharpness=1.0,
    said=(1.0, -3.0),
    shown=0.5,
    shown_thing=0.2,
    thing=4.0,
)


def make_detector(config: ConceptsConfig = CONFIG, **tensors: np.ndarray) -> ConceptDetector:
    """Grass, man, teapot and terrier are directions of their own in a space of four dimensions."""
    axes = np.eye(4, dtype=np.float32)
    usual = {
        "centre": np.zeros(4, dtype=np.float32),
        "weights": 3 * axes[:2],
        "shares": np.full(2, 0.2, dtype=np.float32),
        "looks": axes[2:],
        "usual": np.zeros(2, dtype=np.float32),
        "spread": np.full(2, 0.1, dtype=np.float32),
    }
    return ConceptDetector(config, **{**usual, **tensors})


@pytest.fixture
def detector() -> ConceptDetector:
    return make_detector()


def _vector(**parts: float) -> np.ndarray:
    vector = np.array([[parts.get(name, 0.0) for name in ("grass", "man", "teapot", "terrier")]], dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector))


def test_words_and_kinds_are_named_with_probabilities(detector: ConceptDetector) -> None:
    (named,) = detector.name(_vector(grass=1.0, teapot=1.0), 8)
    words = dict(named)
    assert {"grass", "teapot", "pot"} <= words.keys()
    assert "man" not in words
    assert "terrier" not in words
    assert all(0 < chance <= 1 for chance in words.values())
    assert [chance for _, chance in named] == sorted(words.values(), reverse=True)


def test_words_of_a_kernel_are_near_to_its_landmarks_and_names_that_nobody_says_are_not_shown() -> None:
    axes = np.eye(4, dtype=np.float32)
    detector = make_detector(
        weights=np.array([[0.5, 0, 0], [0, 0.5, 0]], dtype=np.float32),
        projection=2 * axes[:, :2],
        landmarks=np.array([[2, 0], [0, 2], [0, 0]], dtype=np.float32),
        habits=np.array([1.0, 0.01, 1, 1, 1], dtype=np.float32),
    )
    scores = detector.word_scores(_vector(grass=1.0))
    np.testing.assert_allclose(scores, [[0.5, 0.5 * np.exp(-8)]], atol=1e-6)
    (terrier,) = detector.name(_vector(terrier=1.0), 8)
    assert {"dog", "animal"} <= dict(terrier).keys()
    assert "terrier" not in dict(terrier)


def test_an_image_always_has_a_concept(detector: ConceptDetector) -> None:
    (named,) = detector.name(_vector(man=-1.0, grass=-0.5), 8)
    assert [word for word, _ in named] == ["grass"], "the likeliest word, however unlikely"


def test_a_guess_names_a_thing_that_no_word_names_yet() -> None:
    config = CONFIG.model_copy(update={"words": ("dog", "man"), "said": (1.0, -7.0)})
    detector = make_detector(config)
    (nameless,) = detector.name(_vector(man=-0.8, terrier=0.6), 8)
    assert [word for word, _ in nameless] == ["animal", "dog", "terrier"]
    assert all(config.shown_thing < chance < config.shown for _, chance in nameless)
    (named,) = detector.name(_vector(grass=0.8, terrier=0.6), 8)  # the first direction is the word *dog* here
    assert [word for word, _ in named] == ["dog"]


def test_a_thing_by_itself_is_named_as_people_do(detector: ConceptDetector) -> None:
    teapot, terrier, nothing = (
        detector.things(vector)[0]
        for vector in (_vector(teapot=1.0), _vector(terrier=1.0), _vector(grass=1.0, teapot=0.2))
    )
    assert teapot is not None
    assert (teapot.name, teapot.names) == ("teapot", ("teapot", "pot"))
    assert terrier is not None
    assert terrier.name == "dog"
    assert terrier.names == ("terrier", "dog", "animal")
    assert nothing is None


def test_with_somebody_there_no_thing_is_by_itself(detector: ConceptDetector) -> None:
    assert detector.things(_vector(man=1.0, teapot=1.0)) == [None]


def test_what_is_as_likely_under_a_broader_name_is_called_by_it() -> None:
    config = CONFIG.model_copy(
        update={"names": ("robin", "jay"), "broader": (("bird",), ("bird",)), "plain": (), "people": ()}
    )
    axes = np.eye(4, dtype=np.float32)
    detector = ConceptDetector(
        config,
        centre=np.zeros(4, dtype=np.float32),
        weights=axes[:2],
        shares=np.full(2, 0.2, dtype=np.float32),
        looks=axes[2:],
        usual=np.zeros(2, dtype=np.float32),
        spread=np.full(2, 0.1, dtype=np.float32),
    )
    (unsure,) = detector.things(np.array([[0, 0, 1.0, 0.99]], dtype=np.float32))
    (sure,) = detector.things(np.array([[0, 0, 1.0, 0.0]], dtype=np.float32))
    assert unsure is not None
    assert unsure.name == "bird"
    assert sure is not None
    assert sure.name == "robin"


def test_an_opening_is_written_and_neither_unlikely_words_nor_content_words_twice() -> None:
    words = 8
    grammar = Grammar(
        carries=np.ones((2, 2, words), dtype=np.bool_),
        closing=np.ones(words, dtype=np.bool_),
        clashes={},
        descriptions=np.isin(np.arange(words), [5, 6]),
        once=np.isin(np.arange(words), [4, 7]),
    )
    demands = Demands(
        np.array([[3, ANY_DESCRIPTION, 4], [3, 4, FREE]]),
        np.isin(np.arange(words), [6]) & np.ones((2, 1), dtype=np.bool_),
    )
    wanted = [({3}, {3}), ({5}, {4}), ({4}, {3, 5, 7}), ({3, 5, 7}, {3, 5})]
    written = np.zeros((2, 0), dtype=np.int64)
    for place, allowed in enumerate(wanted):
        log_p = np.zeros((2, words), dtype=np.float32)
        grammar.restrict(log_p, Written(written, demands=demands))
        for row in range(2):
            found = {word for word in range(words) if log_p[row, word] > FORBIDDEN and word != END}
            assert found == allowed[row], (place, row)
        following = np.array([[min(allowed[0])], [min(allowed[1])]]) if place < 2 else np.array([[4], [7]])
        written = np.concatenate([written, following], axis=1)


def test_captions_are_chosen_for_what_they_say_besides() -> None:
    sentences = [(1, 2, 3), (1, 2, 4), (5, 6, 7), (8, 9)]
    scores = np.array([3.0, 2.9, 2.0, 2.5])
    plain = [(0, 0)] * 4
    assert choose(sentences, scores, plain, 2, 0.0) == [0, 1]
    assert choose(sentences, scores, plain, 2, 2.0) == [0, 3], "two new words of two"
    assert choose(sentences, scores, [(0, 1), (0, 0), (0, 0), (0, 1)], 2, 0.0) == [1, 2], "faults come last"
    assert choose(sentences, scores, plain, 9, 1.0) == [0, 1, 3, 2], "all of them, by score"


def test_a_cat_is_a_cat(shipped_space: JointSpace, photos: dict[str, bytes]) -> None:
    vectors = shipped_space.embed_images([Image.open(io.BytesIO(photos["cat"])).convert("RGB")])
    (named,) = shipped_space.name_concepts(vectors, 8)
    assert dict(named)["cat"] > 0.5
    (captions,) = Captioner(shipped_space).caption(vectors)
    assert "cat" in captions[0].text.split()
