"""Attribute swaps: which queries a set asks, and how they are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data.datasets import CaptionDataset, CaptionedImage
from model.errors import DatasetError
from model.evaluation.regularities import Mentions, answerable, evaluate_regularities, find_exchanges, find_swaps
from model.space import JointSpace


def _dataset(*captions: str) -> CaptionDataset:
    items = tuple(CaptionedImage(Path(f"{place}.jpg"), (caption,)) for place, caption in enumerate(captions))
    return CaptionDataset(name="made", split="dev", items=items, missing=0)


DATASET = _dataset("a black dog", "a brown dog", "a black cat", "the brown dog runs", "a big dog", "black and white")


def test_swaps_stay_within_a_noun_and_a_kind_of_attribute() -> None:
    swaps = {(swap.image, swap.noun, swap.old, swap.new, swap.targets) for swap in find_swaps(DATASET)}
    assert swaps == {
        (0, "dog", "black", "brown", frozenset({1, 3})),
        (1, "dog", "brown", "black", frozenset({0})),
        (3, "dog", "brown", "black", frozenset({0})),
    }


def test_an_image_that_has_both_is_no_query() -> None:
    (swap,) = find_swaps(_dataset("a black dog and a brown dog", "a brown dog"))
    assert (swap.image, swap.targets) == (1, frozenset({0}))


def test_vectors_that_are_their_captions_answer_every_query(space: JointSpace) -> None:
    captions = ["black dog", "brown dog", "black cat", "brown dog runs", "big dog", "black and white"]
    report = evaluate_regularities(space, space.embed_operands(captions), find_swaps(DATASET), Mentions(DATASET))
    assert report.queries == 3
    assert report.arithmetic.success_at_1 == 100
    assert report.text_only.success_at_10 == 100


def test_the_query_itself_is_never_an_answer(space: JointSpace) -> None:
    # Nothing but the query image resembles it: were it counted, every first place would be lost.
    images = np.zeros((6, space.dimension), dtype=np.float32)
    images[:, 0] = 1
    images[2:, 0], images[2:, 1] = 0, 1
    report = evaluate_regularities(space, images, find_swaps(DATASET)[:2], Mentions(DATASET))
    assert report.image_only.success_at_1 == 100


def test_captions_without_attributes_are_an_error(space: JointSpace) -> None:
    with pytest.raises(DatasetError, match="larger set"):
        evaluate_regularities(space, np.zeros((1, space.dimension), dtype=np.float32), [], Mentions(DATASET))


def test_kinds_and_scenes_are_what_captions_mention_and_do_not() -> None:
    made = _dataset("a dog in the snow", "a cat sleeps", "a dog and a cat", "the dog runs")
    swaps = {(swap.image, swap.old, swap.new, swap.targets) for swap in find_exchanges(made, [("dog", "cat")])}
    assert swaps == {
        (0, "dog", "cat", frozenset({1})),
        (3, "dog", "cat", frozenset({1})),
        (1, "cat", "dog", frozenset({0, 3})),
    }
    assert find_exchanges(made, [("day", "night")]) == []


def test_keeping_the_rest_counts_the_other_words() -> None:
    made = _dataset("a black dog jumps in the snow", "a brown dog jumps", "a brown dog sleeps", "a black dog")
    (first, *_) = find_swaps(made)
    assert (first.image, first.old, first.new) == (0, "black", "brown")
    mentions = Mentions(made)
    assert mentions.kept([first], [1]) == pytest.approx(50)  # jumps, and not snow
    assert mentions.kept([first], [2]) == 0
    assert mentions.kept([first, first], [0, 2]) == pytest.approx(50)


def test_queries_with_unknown_words_are_left_out(space: JointSpace) -> None:
    made = _dataset("a black zzyzx", "a brown zzyzx", "a black dog", "a brown dog")
    assert len(find_swaps(made)) == 4
    assert {swap.noun for swap in answerable(space, find_swaps(made))} == {"dog"}
