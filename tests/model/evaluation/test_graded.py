"""nDCG of attribute exchanges: which queries a set asks, what its photographs gain, and how orders are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data.datasets import CaptionDataset, CaptionedImage
from model.evaluation.graded import evaluate_graded, find_graded, ndcg
from model.evaluation.regularities import answerable
from model.space import JointSpace


def _dataset(*captions: tuple[str, ...]) -> CaptionDataset:
    items = tuple(CaptionedImage(Path(f"{place}.jpg"), own) for place, own in enumerate(captions))
    return CaptionDataset(name="made", split="dev", items=items, missing=0)


DATASET = _dataset(
    ("a black dog runs on grass", "the black dog runs", "a black hat", "grass"),
    ("a brown dog runs on grass",),
    ("a brown dog sleeps",),
    ("a brown hat in the grass",),
    ("a brown car",),
)


def test_any_noun_is_right_and_the_rest_is_what_two_captions_say() -> None:
    (query,) = [query for query in find_graded(DATASET) if query.image == 0]
    assert (query.noun, query.old, query.new, query.answer) == ("dog", "black", "brown", "brown dog")
    # The rest is *runs* and *grass*: *dog* and *hat* are exchanged, and *hat* is said once.
    assert query.gains == pytest.approx({1: 1.0, 2: 0.2, 3: 0.6})


def test_scores_are_those_of_the_definition_and_pairs_count_alike() -> None:
    queries = [query for query in find_graded(DATASET) if query.old == "brown"]
    assert {query.image for query in queries} == {1, 2, 3}
    (query,) = [query for query in find_graded(DATASET) if query.image == 0]
    images = np.eye(5, dtype=np.float32)
    order = np.array([[9, 0.1, 0.5, 0.3, 0.4]], dtype=np.float32)  # itself (left out), 2, 4, 3, 1
    found = 0.2 + 0.6 / np.log2(4) + 1.0 / np.log2(5)
    best = 1.0 + 0.6 / np.log2(3) + 0.2 / np.log2(4)
    assert ndcg(order, images, [query]) == pytest.approx(100 * found / best)
    perfect = np.array([[0, 1, 0.2, 0.6, 0]], dtype=np.float32)
    assert ndcg(perfect, images, [query]) == pytest.approx(100)
    other = queries[0]  # answered by photograph 0 alone
    vectors = np.concatenate([perfect, [[0, 0, 0, 0, 1]], [[1, 0, 0, 0, 0]]]).astype(np.float32)
    both = ndcg(vectors, images, [query, other, other])
    worst = 100 / np.log2(3)  # photograph 4 first, then, of equals, the first one
    assert both == pytest.approx((100 + (worst + 100) / 2) / 2)


def test_words_that_the_model_does_not_know_are_not_asked(space: JointSpace) -> None:
    dataset = _dataset(("a black zyzzyva",), ("a brown zyzzyva",), ("a black dog",), ("a brown dog",))
    queries = answerable(space, find_graded(dataset))
    assert {query.noun for query in queries} == {"dog"}
    with pytest.raises(ValueError, match="no attribute"):
        evaluate_graded(space, np.zeros((4, space.dimension), dtype=np.float32), queries[:0])


def test_vectors_that_are_their_captions_are_found(space: JointSpace) -> None:
    dataset = _dataset(("a black dog",), ("a brown dog",), ("a red car",), ("a blue flower",))
    images = space.embed_operands(["black dog", "brown dog", "red car", "blue flower"])
    report = evaluate_graded(space, images, find_graded(dataset))
    assert (report.queries, report.pairs) == (2, 2)
    assert report.arithmetic == report.text_only == pytest.approx(100)
    assert set(report.to_json()) == {"queries", "pairs", "arithmetic", "text_only", "image_only", "text_and_image"}
