from __future__ import annotations

import numpy as np
import pytest

from index.vectors.faiss import FaissIndex

DIMENSION = 24


def unit(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clouds(count: int, seed: int = 0) -> np.ndarray:
    """Vectors around thirty centres, as those of real pictures are."""
    random = np.random.default_rng(seed)
    rows = unit(30, 1)[random.integers(30, size=count)] + 0.15 * random.normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def nearest(keys: np.ndarray, vectors: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    return keys[np.lexsort((keys, -scores))[:k]].tolist()


def keys_from(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.int64)


@pytest.fixture
def flat() -> tuple[FaissIndex, np.ndarray, np.ndarray]:
    keys, vectors = keys_from(100, 300) * 3, unit(300)
    index = FaissIndex(DIMENSION)
    index.add(keys, vectors)
    return index, keys, vectors


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    return keys_from(1, 3000), clouds(3000)


@pytest.fixture(scope="module")
def built(large: tuple[np.ndarray, np.ndarray]) -> FaissIndex:
    index = FaissIndex(DIMENSION, exact_up_to=1000)
    index.add(*large)
    return index


@pytest.fixture
def clustered(built: FaissIndex) -> FaissIndex:
    """A copy for each test, as building takes its time."""
    return FaissIndex.deserialize(built.serialize(), exact_up_to=1000, recall=built.recall)


@pytest.mark.parametrize("k", [1, 10, 299, 300, 1000])
def test_the_nearest_are_exact(flat: tuple[FaissIndex, np.ndarray, np.ndarray], k: int) -> None:
    index, keys, vectors = flat
    query = unit(1, seed=5)[0]
    scores, found = index.search(query, k)
    assert found.tolist() == nearest(keys, vectors, query, k)
    assert (np.diff(scores) <= 0).all()
    assert scores.dtype == np.float32
    assert (index.kind, index.recall, len(index)) == ("exact", 1.0, 300)


def test_an_empty_index_finds_nothing() -> None:
    scores, keys = FaissIndex(DIMENSION).search(unit(1)[0], 5)
    assert (len(scores), len(keys)) == (0, 0)


def test_ties_at_the_end_of_the_answer_are_broken_by_key() -> None:
    index = FaissIndex(DIMENSION)
    same = np.repeat(unit(1), 200, axis=0)
    order = np.random.default_rng(0).permutation(200).astype(np.int64)
    index.add(order, same)
    index.add(keys_from(1000, 50), unit(50, seed=3))
    for k in (1, 7, 40, 200):
        assert index.search(same[0], k)[1].tolist() == list(range(k))


def test_scores_do_not_depend_on_what_comes_with_them(
    flat: tuple[FaissIndex, np.ndarray, np.ndarray],
) -> None:
    index, keys, _ = flat
    query = unit(1, seed=6)[0]
    scores = dict(zip(*reversed(index.search(query, 300)), strict=True))
    for allowed in (keys[:1], keys[3:17], keys[::2]):
        for score, key in zip(*index.search(query, 300, allowed=allowed), strict=True):
            assert score == scores[key]


def test_only_what_is_allowed_and_not_excluded_comes_back(
    flat: tuple[FaissIndex, np.ndarray, np.ndarray],
) -> None:
    index, keys, vectors = flat
    query = unit(1, seed=7)[0]
    allowed = np.concatenate([keys[::7], [5, 10**9]])  # keys that are not in the index do no harm
    rows = np.arange(0, 300, 7)
    assert index.search(query, 100, allowed=allowed)[1].tolist() == nearest(keys[rows], vectors[rows], query, 100)
    found = index.search(query, 5, allowed=allowed, excluded=keys[:150])[1].tolist()
    late = rows[rows >= 150]
    assert found == nearest(keys[late], vectors[late], query, 5)
    assert index.search(query, 500, excluded=keys[10:])[1].tolist() == nearest(keys[:10], vectors[:10], query, 10)
    assert len(index.search(query, 5, allowed=np.empty(0, dtype=np.int64))[1]) == 0


def test_what_is_removed_is_gone(flat: tuple[FaissIndex, np.ndarray, np.ndarray]) -> None:
    index, keys, vectors = flat
    index.remove(np.concatenate([keys[:100], [1]]))
    assert len(index) == 200
    assert index.keys().tolist() == keys[100:].tolist()
    assert index.search(vectors[0], 300)[1].tolist() == nearest(keys[100:], vectors[100:], vectors[0], 300)
    np.testing.assert_array_equal(index.vectors(keys[150:160]), vectors[150:160])


def test_a_large_index_has_the_recall_that_it_claims(
    clustered: FaissIndex, large: tuple[np.ndarray, np.ndarray]
) -> None:
    keys, vectors = large
    assert clustered.kind == "ivf"
    assert 0.95 <= clustered.recall <= 1
    queries = clouds(50, seed=9)
    hits = sum(
        len(set(clustered.search(query, 10)[1].tolist()) & set(nearest(keys, vectors, query, 10))) for query in queries
    )
    assert hits / 500 > 0.9


def test_a_large_index_is_exact_under_a_filter(clustered: FaissIndex, large: tuple[np.ndarray, np.ndarray]) -> None:
    keys, vectors = large
    for query in clouds(10, seed=11):
        rows = np.arange(5, 3000, 97)
        assert clustered.search(query, 8, allowed=keys[rows])[1].tolist() == nearest(
            keys[rows], vectors[rows], query, 8
        )


def test_a_large_index_gives_everything_when_asked_for_everything(
    clustered: FaissIndex, large: tuple[np.ndarray, np.ndarray]
) -> None:
    query = clouds(1, seed=12)[0]
    assert clustered.search(query, 5000)[1].tolist() == nearest(*large, query, 3000)
    assert len(clustered.search(query, 5000, excluded=keys_from(1, 30))[1]) == 2970


def test_a_large_index_removes_and_grows(clustered: FaissIndex, large: tuple[np.ndarray, np.ndarray]) -> None:
    keys, vectors = large
    clustered.remove(keys[:500])
    clustered.add(keys_from(5000, 10), clouds(10, seed=13))
    assert clustered.keys().tolist() == [*keys[500:].tolist(), *range(5000, 5010)]
    np.testing.assert_array_equal(clustered.vectors(keys[600:605]), vectors[600:605])
    assert not set(clustered.search(vectors[3], 50)[1].tolist()) & set(range(1, 501))


def test_a_large_index_that_shrinks_is_exact_again(clustered: FaissIndex, large: tuple[np.ndarray, np.ndarray]) -> None:
    keys, vectors = large
    clustered.remove(keys[400:])
    assert (clustered.kind, clustered.recall, len(clustered)) == ("exact", 1.0, 400)
    assert clustered.search(vectors[0], 400)[1].tolist() == nearest(keys[:400], vectors[:400], vectors[0], 400)


@pytest.mark.parametrize("exact_up_to", [1000, 10_000])
def test_a_snapshot_is_the_same_index(large: tuple[np.ndarray, np.ndarray], exact_up_to: int) -> None:
    index = FaissIndex(DIMENSION, exact_up_to)
    index.add(*large)
    copy = FaissIndex.deserialize(index.serialize(), exact_up_to, recall=index.recall)
    assert (copy.kind, copy.recall, len(copy)) == (index.kind, index.recall, len(index))
    for one in (index, copy):
        one.remove(keys_from(10, 5))
        one.add(keys_from(9000, 3), clouds(3, seed=14))
    for query in clouds(5, seed=15):
        for mine, theirs in zip(index.search(query, 20), copy.search(query, 20), strict=True):
            np.testing.assert_array_equal(mine, theirs)
