"""Metadata to rows of a form and back."""

from __future__ import annotations

from typing import Any

import pytest

from app.metadata import merge_patch
from app.problems import Problem
from app.web.metadata import read_changes, rows

METADATA: dict[str, Any] = {"album": "sea", "year": 2024, "tags": ["a", "ü"], "none": None, "quoted": '"x"', "": "?"}


def test_rows_that_were_not_touched_change_nothing() -> None:
    metadata = {key: value for key, value in METADATA.items() if key}
    assert read_changes(metadata, rows(metadata)) == {}


@pytest.mark.parametrize(
    ("metadata", "pairs", "expected"),
    [
        ({"a": "x"}, [("a", "5")], {"a": "5"}),  # text stays text
        ({"a": 1}, [("a", "5")], {"a": 5}),
        ({"a": 1}, [("a", '"five"')], {"a": "five"}),
        ({"a": [1]}, [("a", "[1, 2]")], {"a": [1, 2]}),
        ({"a": "x", "b": "y"}, [("b", "y")], {"b": "y"}),
        ({"a": "x"}, [("b", "x")], {"b": "x"}),
        ({}, [(" a ", "x\r\ny"), ("", "")], {"a": "x\ny"}),
    ],
)
def test_changes(metadata: dict[str, Any], pairs: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    assert merge_patch(metadata, read_changes(metadata, pairs)) == expected


@pytest.mark.parametrize(
    ("metadata", "pairs", "reason"),
    [
        ({}, [("", "x")], "has no name"),
        ({}, [("a", "x"), ("a ", "y")], "two rows"),
        ({"a": 1}, [("a", "x")], "holds JSON"),
        ({"a": 1}, [("a", "[" * 100_000)], "holds JSON"),
    ],
)
def test_ambiguous_rows_are_refused(metadata: dict[str, Any], pairs: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        read_changes(metadata, pairs)
