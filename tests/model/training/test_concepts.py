"""Fitting detectors of concepts, and words for things that no caption names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.captioner.scnlm import SPECIAL_WORDS
from model.captioner.structures import Structures
from model.captioner_config import ScnlmConfig
from model.concepts import ConceptDetector, Kernel, names_of
from model.space import JointSpace


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global CaptionSet, RARELY, StructureContentModel, fit_concepts, names_of_kinds, said_of_images, tellable_words
    global torch, with_names
    import torch

    from model.runtime.torch_scnlm import StructureContentModel
    from model.training.captioner.data import CaptionSet
    from model.training.captioner.naming import RARELY, with_names
    from model.training.fitting.concepts import fit_concepts, said_of_images, tellable_words
    from model.training.fitting.kind_names import names_of_kinds


SENTENCES = {"dog": "the dogs are running", "boat": "a red boat"}
TAGS = {"the": "DT", "a": "DT", "are": "VBP", "dogs": "NNS", "dog": "NN", "running": "VBG", "red": "JJ", "boat": "NN"}


def _captions(seed: int) -> CaptionSet:
    """Forty images: of dogs along one axis, of boats along another."""
    generator = np.random.default_rng(seed)
    things = ["dog", "boat"] * 20
    images = generator.normal(scale=0.1, size=(40, 6)).astype(np.float32)
    images[np.arange(40), [0, 1] * 20] += 1
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    tokens = [SENTENCES[thing].split() for thing in things]
    tags = [[TAGS[word] for word in sentence] for sentence in tokens]
    return CaptionSet(tokens, [[] for _ in tokens], tags, np.arange(40), images, images[:0])


def test_detectors_name_what_new_images_show() -> None:
    looks = np.random.default_rng(3).normal(size=(1000, 6)).astype(np.float32)
    train, dev, new = (_captions(seed) for seed in (0, 1, 2))
    config, tensors = fit_concepts(train, dev, looks)
    assert set(config.words) == {"dogs", "running", "red", "boat"}, "what tells something, and no function word"
    probabilities = ConceptDetector(config, **tensors).word_probabilities(new.images)
    said = said_of_images(new, config.words)
    assert probabilities[said].min() > 0.5 > probabilities[~said].max()


def test_a_kernel_that_a_captioner_reads_stays() -> None:
    looks = np.random.default_rng(3).normal(size=(1000, 6)).astype(np.float32)
    _, tensors = fit_concepts(_captions(0), _captions(1), looks)
    kernel = Kernel(tensors["projection"], tensors["landmarks"])
    config, again = fit_concepts(_captions(2), _captions(1), looks, kernel)
    assert all(np.array_equal(again[name], tensors[name]) for name in ("projection", "landmarks"))
    new = _captions(3)
    said = said_of_images(new, config.words)
    probabilities = ConceptDetector(config, **again).word_probabilities(new.images)
    assert probabilities[said].min() > 0.5 > probabilities[~said].max()


def test_few_photographs_tell_no_words_and_kinds_that_nobody_mentions_are_unlikely() -> None:
    captions = _captions(0)
    few = replace(captions, tokens=captions.tokens[:10], tags=captions.tags[:10], owner=captions.owner[:10])
    assert tellable_words(few) == ()
    looks = np.random.default_rng(3).normal(size=(1000, 6)).astype(np.float32)
    unnamed = replace(captions, tokens=[["red"]] * 20 + [["running"]] * 20)  # no dog, no boat
    config, _ = fit_concepts(captions, unnamed, looks)
    slope, constant = config.said
    assert slope == 0
    assert constant < -3


def test_names_that_captions_do_not_say_are_not_shown_where_captions_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.training.fitting.concepts.SHARPNESS", 20.0)  # half of the images are no deviation
    names, _ = names_of_kinds()
    looks = np.zeros((1000, 6), dtype=np.float32)
    looks[names.index("airedale terrier"), 0] = 1  # as all dogs look here
    config, tensors = fit_concepts(_captions(0), _captions(1), looks)
    habits = dict(zip(names_of(config), tensors["habits"].tolist(), strict=True))
    assert habits["airedale terrier"] < 0.2, "captions say dog"
    assert habits["dog"] == 1
    assert habits["teapot"] == 1, "no photograph tells"


def test_a_plural_counts_as_its_noun() -> None:
    captions = _captions(0)
    said = said_of_images(captions, ("dog", "boat"))
    assert said.tolist() == [[True, False], [False, True]] * 20


def test_every_kind_has_an_exact_name_and_dogs_are_dogs() -> None:
    names, broader = names_of_kinds()
    assert len(names) == len(broader) == 1000
    assert all(names)
    assert names[849] == "teapot"
    assert all("dog" in broader[kind] for kind in range(151, 269))
    assert all(name not in words for name, words in zip(names, broader, strict=True))


def test_words_of_names_are_copies_of_the_nearest_noun(shipped_space: JointSpace) -> None:
    tokens = [["a", "dog", "runs"], ["a", "pot", "stands"]]
    words = [*SPECIAL_WORDS, "a", "dog", "pot", "runs", "stands"]
    structures = Structures.learn(words, tokens, [["DT", "NN", "VBZ"]] * 2, 4)
    torch.manual_seed(0)
    config = ScnlmConfig(words=len(words), tags=len(structures.tags), content_dimension=8, structure_window=2)
    model = StructureContentModel(config).eval()
    wider, learned = with_names(model, structures, shipped_space)
    teapot, pot = learned.words.index("teapot"), words.index("pot")
    assert learned.words[: len(words)] == words
    assert wider.config.words == len(learned.words)
    torch.testing.assert_close(wider.words[teapot], model.words[pot])
    torch.testing.assert_close(wider.word_bias[teapot], model.word_bias[pot] - RARELY)
    assert learned.tags_of([teapot]) == ["NN"]
    assert teapot in learned.closing
