"""The protocol, against a plain restatement of it and against encoders that try to cheat."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from model.evaluation import retrieval
from model.evaluation.retrieval import RetrievalReport, RetrievalScores, evaluate_retrieval


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def noisy_set(images: int, captions: int, noise: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(images), captions)
    image_vectors = unit(random.normal(size=(images, 16)))
    sentence_vectors = unit(image_vectors[owners] + noise * random.normal(size=(len(owners), 16)))
    return image_vectors, sentence_vectors, owners


def plain_ranks(images: np.ndarray, sentences: np.ndarray, owners: np.ndarray) -> tuple[list[int], list[int]]:
    """Sort, then look where the first right answer stands: the protocol in so many words."""
    scores = images.astype(float) @ sentences.T.astype(float)
    image_ranks = [
        1 + next(i for i, s in enumerate(np.argsort(-row)) if owners[s] == image) for image, row in enumerate(scores)
    ]
    sentence_ranks = [1 + list(np.argsort(-row)).index(owners[s]) for s, row in enumerate(scores.T)]
    return image_ranks, sentence_ranks


def test_perfect_vectors() -> None:
    vectors = np.eye(12, dtype=np.float32)
    report = evaluate_retrieval(vectors, np.repeat(vectors, 5, axis=0), np.repeat(np.arange(12), 5))
    perfect = RetrievalScores(r1=100.0, r5=100.0, r10=100.0, median_rank=1.0)
    assert report == RetrievalReport(perfect, perfect)
    assert report.recall_sum == 600.0


def test_ranks_by_hand() -> None:
    # Sentences are axes, so that an image's coordinates are its scores. Image 0 owns sentences 0 and 1.
    sentences = np.eye(4, dtype=np.float32)
    images = np.array([[0.2, 0.5, 0.6, 0.1], [0.3, 0.1, 0.9, 0.2], [0.1, 0.2, 0.3, 0.25]], np.float32)
    report = evaluate_retrieval(images, sentences, [0, 0, 1, 2])
    # Image 0 ranks second (0.5 after 0.6), image 1 first, image 2 second (0.25 after 0.3).
    assert report.image_to_sentence.r1 == pytest.approx(100 / 3)
    assert report.image_to_sentence.median_rank == 2.0
    # Sentence 0 ranks second (0.2 after 0.3); 1 (0.5), 2 (0.9) and 3 (0.25) rank first.
    assert report.sentence_to_image.r1 == pytest.approx(75.0)
    assert report.sentence_to_image.median_rank == 1.0
    assert report.sentence_to_image.r5 == 100.0


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("block_scores", [1, 170, 1 << 24])
def test_agrees_with_sorting(noise: float, block_scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_BLOCK_SCORES", block_scores)
    images, sentences, owners = noisy_set(40, 5, noise)
    report = evaluate_retrieval(images, sentences, owners)
    directions = (report.image_to_sentence, report.sentence_to_image)
    for scores, ranks in zip(directions, plain_ranks(images, sentences, owners), strict=True):
        for k, recall in ((1, scores.r1), (5, scores.r5), (10, scores.r10)):
            assert recall == pytest.approx(100 * np.mean(np.array(ranks) <= k))
        assert scores.median_rank == np.median(ranks)


def test_the_order_of_sentences_does_not_matter() -> None:
    images, sentences, owners = noisy_set(30, 3, 1.5)
    order = np.random.default_rng(1).permutation(len(owners))
    assert evaluate_retrieval(images, sentences[order], owners[order]) == evaluate_retrieval(images, sentences, owners)


@pytest.mark.parametrize("dimension", [1, 3, 300, 1024])
def test_constant_vectors_come_last(dimension: int) -> None:
    """In high dimensions equal vectors get scores that differ in their last bits: still ties."""
    vector = unit(np.random.default_rng(2).normal(size=(1, dimension)))
    images, sentences = np.repeat(vector, 23, axis=0), np.repeat(vector, 115, axis=0)
    report = evaluate_retrieval(images, sentences, np.repeat(np.arange(23), 5))
    assert report.image_to_sentence == RetrievalScores(0.0, 0.0, 0.0, median_rank=1 + 22 * 5)
    assert report.sentence_to_image == RetrievalScores(0.0, 0.0, 0.0, median_rank=23.0)


def test_zero_and_undefined_vectors_come_last() -> None:
    images, sentences, owners = noisy_set(20, 5, 0.1)
    assert evaluate_retrieval(images, np.zeros_like(sentences), owners).recall_sum == 0.0
    assert evaluate_retrieval(images, np.full_like(sentences, np.nan), owners).recall_sum == 0.0
    assert evaluate_retrieval(np.full_like(images, np.nan), sentences, owners).recall_sum == 0.0


def test_one_twin_costs_one_rank() -> None:
    images = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    report = evaluate_retrieval(images, np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32), [0, 2, 2])
    # The first sentence cannot tell the twins apart; image 2 has its own two sentences tied: no harm.
    assert report.sentence_to_image.r1 == pytest.approx(200 / 3)
    assert report.image_to_sentence.r1 == 100.0


def test_images_without_sentences_only_compete() -> None:
    images = np.array([[1, 0], [0, 1], [1, 0.1]], np.float32)
    report = evaluate_retrieval(images, np.array([[1, 0.2], [0, 1]], np.float32), [0, 1])
    assert report.image_to_sentence.r1 == 100.0
    assert report.sentence_to_image.r1 == 50.0


def test_chance_is_chance() -> None:
    random = np.random.default_rng(3)
    images, sentences = unit(random.normal(size=(100, 8))), unit(random.normal(size=(500, 8)))
    report = evaluate_retrieval(images, sentences, np.repeat(np.arange(100), 5))
    assert report.sentence_to_image.r10 == pytest.approx(10.0, abs=5.0)
    assert report.sentence_to_image.median_rank == pytest.approx(50.0, abs=8.0)


def test_the_document_has_the_keys_of_the_contract() -> None:
    document = json.loads(json.dumps(evaluate_retrieval(*noisy_set(5, 2, 0.5)).to_json()))
    assert set(document) == {"image_to_sentence", "sentence_to_image"}
    for scores in document.values():
        assert set(scores) == {"r1", "r5", "r10", "median_rank"}
        assert all(isinstance(value, float) for value in scores.values())


def test_large_sets_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores of 2,000 images and 10,000 sentences are 80 MB; blocks keep far below that."""
    monkeypatch.setattr(retrieval, "_BLOCK_SCORES", 1 << 20)
    random = np.random.default_rng(4)
    images, sentences = unit(random.normal(size=(2_000, 4))), unit(random.normal(size=(10_000, 4)))
    tracemalloc.start()
    try:
        evaluate_retrieval(images, sentences, np.repeat(np.arange(2_000), 5))
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("images", "sentences", "owners", "complaint"),
    [
        ((2, 3), (2, 4), [0, 1], r"\(2, 3\) and \(2, 4\)"),
        ((3,), (2, 3), [0, 1], "must be"),
        ((0, 3), (2, 3), [0, 1], "at least one"),
        ((2, 3), (0, 3), [], "at least one"),
        ((2, 3), (2, 3), [0], "2 whole numbers"),
        ((2, 3), (2, 3), [0.0, 1.0], "whole numbers"),
        ((2, 3), (2, 3), [0, 2], "point to one of 2"),
        ((2, 3), (2, 3), [0, -1], "point to one of 2"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    images: tuple[int, ...], sentences: tuple[int, ...], owners: list[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        evaluate_retrieval(np.ones(images), np.ones(sentences), owners)
