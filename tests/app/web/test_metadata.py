"""Metadata to rows of a form and back."""

from __future__ import annotations

from typing import Any

import pytest

from app.metadata import merge_patch
from app.problems import Problem
from app.web.metadata import read_changes, recall, remember, rows

METADATA: dict[str, Any] = {
    "album": "sea",
    "year": 2024,
    "tags": ["a", "ü"],
    "none": None,
    "quoted": '"x"',
    " spaces around ": " kept ",
    "line\nbreak": "in the key",
    "lines": "\r\nof\rthree\nkinds",
}


def sent(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rows as browsers send them back: no line breaks in an <input>, and CRLF from a <textarea>."""
    return [(key.replace("\r", "").replace("\n", ""), value.replace("\n", "\r\n")) for key, value in pairs]


def test_rows_that_were_not_touched_change_nothing() -> None:
    assert read_changes(METADATA, rows(METADATA)) == {}
    assert read_changes(METADATA, sent(rows(METADATA))) == {}


def test_what_a_form_was_made_from_comes_back() -> None:
    assert recall(remember(METADATA)) == METADATA
    assert not {"\r", "\n"} & set(remember(METADATA))  # a browser would change them


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_form_that_does_not_say_what_it_showed_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="load the page again"):
        recall(text)


@pytest.mark.parametrize(
    ("metadata", "pairs", "expected"),
    [
        ({"a": "x"}, [("a", "5")], {"a": "5"}),  # text stays text
        ({"a": 1}, [("a", "5")], {"a": 5}),
        ({"a": 1}, [("a", "true")], {"a": True}),
        ({"a": 1}, [("a", '"five"')], {"a": "five"}),
        ({"a": [1]}, [("a", "[1, 2]")], {"a": [1, 2]}),
        ({"a": {"b": 1, "c": {"d": 2}}}, [("a", '{"c": {"e": 2}}')], {"a": {"c": {"e": 2}}}),
        ({"a": "x", "b": "y"}, [("", ""), ("b", "y")], {"b": "y"}),
        ({"a": "x"}, [("b", "x")], {"b": "x"}),
        ({"a": 1}, [("b", "1")], {"b": 1}),  # another name, the same value
        ({" a ": "x"}, [(" a ", "y")], {" a ": "y"}),
        ({" a ": "x"}, [("a", "x")], {"a": "x"}),
        ({}, [(" a ", "x\r\ny"), ("", "")], {"a": "x\ny"}),
    ],
)
def test_changes(metadata: dict[str, Any], pairs: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    changed = merge_patch(metadata, read_changes(metadata, pairs))
    assert changed == expected
    assert [type(value) for value in changed.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("metadata", "pairs", "reason"),
    [
        ({}, [("", "x")], "has no name"),
        ({}, [("a", "x"), ("a ", "y")], "two rows"),
        ({"a": "x"}, [("a", "x"), ("a", "y")], "two rows"),
        ({"a": 1}, [("a", "x")], "holds JSON"),
        ({"a": 1}, [("a", "[" * 100_000)], "holds JSON"),
    ],
)
def test_ambiguous_rows_are_refused(metadata: dict[str, Any], pairs: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        read_changes(metadata, pairs)
