"""The text model that training learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.training.space.distillation import CODE_DIMENSION, embed_with_teacher, quantise


def test_related_words_lie_close_and_vectors_are_kept(tmp_path: Path) -> None:
    texts = ["giraffe", "zebra", "typewriter", "a long sentence about an animal with a long neck"]
    seen: list[tuple[int, int]] = []
    vectors = embed_with_teacher(texts, tmp_path, lambda *at: seen.append(at))
    assert vectors.shape == (4, CODE_DIMENSION)
    assert seen[-1] == (4, 4)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=1e-2)
    cosines = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    assert cosines[0, 1] > cosines[0, 2]
    assert cosines[0, 3] > cosines[2, 3]
    again = embed_with_teacher(texts, tmp_path, lambda *at: seen.append((-1, -1)))
    assert (-1, -1) not in seen
    np.testing.assert_array_equal(vectors, again)


def test_whole_numbers_keep_directions() -> None:
    codes = np.random.default_rng(0).normal(size=(50, CODE_DIMENSION)).astype(np.float32)
    whole, scale = quantise(codes)
    assert whole.dtype == np.int8
    assert (whole.astype(np.float32) * scale).std() - 1 < 1e-3
    cosines = (whole * codes).sum(1) / np.linalg.norm(whole.astype(np.float32), axis=1) / np.linalg.norm(codes, axis=1)
    assert cosines.min() > 0.999
