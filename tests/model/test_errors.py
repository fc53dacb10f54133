"""The tree of errors is the one that its docstring draws, and its members keep what they carry."""

from __future__ import annotations

import copy
import pickle
import re
from typing import get_args

import pytest

from model import errors
from model.errors import (
    BundleError,
    BundleErrorCode,
    DatasetError,
    DatasetErrorCode,
    DegenerateQueryError,
    EmptyTextError,
    ImageError,
    ImageErrorCode,
    ModelError,
    NoKnownWordsError,
    TextError,
)

EXAMPLES: list[ModelError] = [
    BundleError("bundle_missing", "There is no bundle."),
    DatasetError("dataset_empty", "There is nothing in it."),
    ImageError("image_too_small", "Too small."),
    EmptyTextError("  "),
    NoKnownWordsError("blorp zzz", ["blorp", "zzz"]),
    DegenerateQueryError(),
]


def test_the_docstring_draws_the_tree() -> None:
    drawn = set(re.findall(r"\w+Error\b", errors.__doc__ or ""))
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert drawn == defined


@pytest.mark.parametrize("codes", [BundleErrorCode, DatasetErrorCode, ImageErrorCode])
def test_the_docstring_names_every_code(codes: object) -> None:
    for code in [*get_args(codes), "empty_text", "no_known_words", "degenerate_query"]:
        assert re.search(rf"\b{code}\b", errors.__doc__ or "")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_errors_survive_copies_and_worker_processes(error: ModelError) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert type(again) is type(error)
        assert (again.code, str(again), vars(again)) == (error.code, str(error), vars(error))


def test_unknown_words_are_named() -> None:
    error = NoKnownWordsError("blorp zzz", ["blorp", "zzz"])
    assert isinstance(error, TextError)
    assert (error.text, error.unknown) == ("blorp zzz", ("blorp", "zzz"))
    assert "'blorp', 'zzz'" in str(error)


def test_a_long_list_of_unknown_words_is_cut() -> None:
    error = NoKnownWordsError("", [f"w{i}" for i in range(25)])
    assert "and 15 more" in str(error)
    assert len(error.unknown) == 25
