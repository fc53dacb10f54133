"""The captioner: what it writes, and what it keeps to."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle, BundleConfig
from model.captioner import Captioner
from model.captioner.decoding import Slot
from model.captioner.scnlm import SPECIAL_WORDS
from model.captioner_config import CAPTIONER
from model.data.datasets import load_dataset
from model.errors import BundleError, CaptionerMissingError, EmptyTextError, StructureError
from model.evaluation.caption_protocol import measure_captions
from model.evaluation.protocol import embed_photographs
from model.space import JointSpace
from model.training.captioner.blank_images import blank_pictures
from model.training.progress import Progress
from tests.captioning import CAPTIONS, SMALL
from tests.tiny import write_bundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global load_file, torch, train_captioner, training_run
    import torch
    from safetensors.torch import load_file

    from model.training import run as training_run
    from model.training.captioner.train import train_captioner


EXAMPLE = "a brown cat with green eyes"


@pytest.fixture(scope="session")
def captioner(captioner_bundle: Path) -> Captioner:
    return Captioner.load(captioner_bundle, device="cpu")


@pytest.fixture(scope="session")
def images(captioner: Captioner) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return embed_photographs(captioner.space, load_dataset(CAPTIONS, "train"), lambda done, total: None)


def test_five_captions_best_first(captioner: Captioner, images: np.ndarray) -> None:
    answers = captioner.caption(images, n=5)
    assert len(answers) == len(images)
    for captions in answers:
        assert len(captions) == 5
        assert len({one.text for one in captions}) == 5
        scores = [one.score for one in captions]
        assert scores == sorted(scores, reverse=True)
        for one in captions:
            words = one.text.split(" ")
            assert len(one.structure) == len(words)
            assert all(not captioner.space.unknown_words(word) for word in words)
            assert not set(words) & set(SPECIAL_WORDS)
            assert all(first != second for first, second in pairwise(words))
            assert 0 <= one.confidence <= 1
            assert -1 <= one.similarity <= 1
            assert one.fluency < 0


def test_the_same_every_time_and_in_every_batch(captioner: Captioner, images: np.ndarray) -> None:
    together = [[one.text for one in captions] for captions in captioner.caption(images, 3)]
    assert together == [[one.text for one in captions] for captions in captioner.caption(images, 3)]
    alone = [[one.text for one in captioner.caption(image[None], 3)[0]] for image in images]
    assert together == alone


def test_sampling_by_seed(captioner: Captioner, images: np.ndarray) -> None:
    def texts(seed: int) -> list[list[str]]:
        return [[one.text for one in own] for own in captioner.caption(images, 4, strategy="sample", seed=seed)]

    assert texts(5) == texts(5)
    assert texts(5) != texts(6)


@pytest.mark.parametrize("strategy", ["beam", "sample"])
def test_a_structure_is_obeyed(captioner: Captioner, images: np.ndarray, strategy: str) -> None:
    expected = tuple(captioner.structures.read(EXAMPLE))
    answers = captioner.caption(images, 5, structure=EXAMPLE, strategy=strategy)  # type: ignore[arg-type]
    assert any(answers)
    assert {one.structure for captions in answers for one in captions} == {expected}
    by_tags = captioner.caption(images, 5, structure=list(expected), strategy=strategy)  # type: ignore[arg-type]
    assert [[one.text for one in own] for own in by_tags] == [[one.text for one in own] for own in answers]


def test_a_structure_that_cannot_be(captioner: Captioner, images: np.ndarray) -> None:
    with pytest.raises(StructureError):
        captioner.caption(images, structure=["WHAT"])
    with pytest.raises(EmptyTextError):
        captioner.caption(images, structure=" ... ")


def test_a_beam_of_one_is_the_likeliest_word_each_time(captioner: Captioner, images: np.ndarray) -> None:
    contents = images / np.linalg.norm(images, axis=1, keepdims=True)
    found = captioner.decoder.beam(contents, [Slot(0)], 1, 50)
    scores = captioner.decoder.score(contents, [one.words for one in found], [0] * len(found))
    # The score of a sentence counts words that are never written, too; the search does as well.
    assert scores == pytest.approx([one.log_probability for one in found], abs=1e-3)
    prefixes = sorted((one.words for one in found), key=len)
    assert all(long[: len(short)] == short for short, long in pairwise(prefixes))


def test_no_images_and_wrong_ones(captioner: Captioner) -> None:
    assert captioner.caption(np.zeros((0, captioner.space.dimension), dtype=np.float32)) == []
    with pytest.raises(ValueError, match="must be"):
        captioner.caption(np.zeros((2, 3), dtype=np.float32))


def test_pictures_of_nothing_are_captioned_without_confidence(captioner: Captioner) -> None:
    pictures = blank_pictures(["some", "words"], seed=9, each=2)
    answers = captioner.caption(captioner.space.embed_images(pictures), 1)
    assert len(answers) == len(pictures)
    assert np.mean([captions[0].confidence for captions in answers]) < 0.5


def test_measures_beside_retrieval(captioner: Captioner) -> None:
    dev, train = load_dataset(CAPTIONS, "dev"), load_dataset(CAPTIONS, "train")
    vectors = embed_photographs(captioner.space, dev, lambda done, total: None)
    texts = captioner.space.embed_texts([caption for item in train.items for caption in item.captions])
    figures = measure_captions(captioner, dev, vectors, (train, texts))
    assert {"bleu1", "bleu4", "cider", "rouge_l", "distinct1", "distinct2", "in_training_set"} <= figures.keys()
    assert figures["baselines"].keys() == {"nearest_caption", "consensus"}
    recorded = captioner.config.quality["flickr8k-dev"]
    assert figures == {name: recorded[name] for name in figures}


def test_a_captioner_leaves_the_space_as_it_is(captioner_bundle: Path, tmp_path: Path) -> None:
    plain = write_bundle(tmp_path / "plain", (CAPTIONS / "Flickr8k.token.txt").read_text())
    before, after = Bundle.load(plain).config, Bundle.load(captioner_bundle).config
    assert after.captioner is not None
    assert before.space_id == after.space_id
    changed = BundleConfig.model_validate(json.loads(before.model_dump_json()) | {"quality": {"a": 1}})
    assert changed.space_id == before.space_id
    files = {**before.files, "vocabulary.txt": "0" * 64}
    assert before.model_copy(update={"files": files}).space_id != before.space_id


def test_without_a_captioner(tmp_path: Path) -> None:
    with pytest.raises(CaptionerMissingError, match="visem train captioner"):
        Captioner.load(write_bundle(tmp_path / "plain"), device="cpu")


def test_a_captioner_that_does_not_fit(captioner: Captioner) -> None:
    space = JointSpace.load(captioner.space.bundle.path, device="cpu")
    network = captioner.config.network.model_copy(update={"factors": 5})
    section = captioner.config.model_copy(update={"network": network})
    space.bundle = replace(space.bundle, config=space.config.model_copy(update={"captioner": section}))
    with pytest.raises(BundleError, match="captioner"):
        Captioner(space)


def test_a_run_that_was_stopped_ends_like_one_that_was_not(captioner_bundle: Path, tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(progress: Progress) -> None:
        if (progress.stage, progress.step) == ("language model", 40):
            raise Stopped

    def stop_late(progress: Progress) -> None:
        if progress.stage == "writing captions":
            raise Stopped

    bundle = write_bundle(tmp_path / "bundle", (CAPTIONS / "Flickr8k.token.txt").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Stopped):
            train_captioner(CAPTIONS, bundle, SMALL, work=tmp_path / "work", report=stop)
    assert list((tmp_path / "work").glob("*/language.checkpoint"))
    before = Bundle.load(bundle).config
    with pytest.raises(Stopped):
        train_captioner(CAPTIONS, bundle, SMALL, work=tmp_path / "late", report=stop_late)
    assert Bundle.load(bundle).config == before, "a captioner that is not fitted yet is no part of the bundle"
    resumed: list[int] = []
    train_captioner(
        CAPTIONS,
        bundle,
        SMALL,
        work=tmp_path / "work",
        report=lambda progress: resumed.append(progress.step) if progress.stage == "language model" else None,
    )
    assert resumed[0] == 60, "it went on, instead of starting anew at 20"
    ours, theirs = load_file(bundle / CAPTIONER), load_file(captioner_bundle / CAPTIONER)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(torch.nan_to_num(tensor.float()), torch.nan_to_num(theirs[name].float())), name


def test_a_search_favours_words_and_says_how_likely_its_sentences_are_without_that(
    captioner: Captioner, images: np.ndarray
) -> None:
    contents = images[:2]
    word = captioner.structures.words.index(next(w for w in ("snow", "grass") if w in captioner.structures.words))
    favoured = np.zeros((2, len(captioner.structures.words)), dtype=np.float32)
    favoured[1, word] = 30
    found = captioner.decoder.beam(contents, [Slot(0), Slot(1)], 4, 4, favoured)
    said = [[word in one.words for one in found if one.slot == slot] for slot in (0, 1)]
    assert np.mean(said[0]) < 0.5 < np.mean(said[1])
    likely = captioner.decoder.score(contents, [one.words for one in found], [one.slot for one in found])
    np.testing.assert_allclose([one.log_probability for one in found], likely, rtol=1e-3, atol=1e-3)
