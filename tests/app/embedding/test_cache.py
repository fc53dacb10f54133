"""The memory of recent vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.embedding.cache import Vector, VectorCache
from app.shared.files import SharedFiles


def vector(value: float) -> Vector:
    return np.full(3, value, dtype=np.float32)


def test_what_was_computed_is_kept_and_cannot_be_changed() -> None:
    cache = VectorCache()
    first = cache.get("a", lambda: vector(1))
    assert cache.get("a", lambda: vector(2)) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 5


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    cache = VectorCache(capacity=2)
    cache.get("a", lambda: vector(1))
    cache.get("b", lambda: vector(2))
    cache.get("a", lambda: vector(3))
    cache.get("c", lambda: vector(4))
    assert cache.get("a", lambda: vector(5))[0] == 1
    assert cache.get("b", lambda: vector(6))[0] == 6


def test_failures_are_not_kept() -> None:
    cache = VectorCache()

    def fail() -> Vector:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError):
        cache.get("a", fail)
    assert cache.get("a", lambda: vector(1))[0] == 1


def test_caches_that_share_go_on_with_the_vector_that_was_first(tmp_path: Path) -> None:
    one, other = (VectorCache(shared=SharedFiles(tmp_path / "shared", 100_000)) for _ in range(2))
    first = one.get("a", lambda: vector(1))
    assert np.array_equal(other.get("a", lambda: vector(2)), first)
    assert other.get("b", lambda: vector(3))[0] == one.get("b", lambda: vector(4))[0] == 3
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 5
