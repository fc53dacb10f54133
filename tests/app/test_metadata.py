"""Metadata within limits, and merge patches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.metadata import MAX_METADATA_BYTES, check_metadata, make_patch, merge_patch, parse_metadata


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_what_json_can_express_is_accepted() -> None:
    metadata = {"album": "holiday", "year": 2024, "tags": ["a", None, True, 1.5], "place": {"city": "Köln"}}
    assert check_metadata(metadata) == metadata
    assert parse_metadata(json.dumps(metadata)) == metadata
    assert check_metadata(nested(16)) == nested(16)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], "JSON object"),
        ("x", "JSON object"),
        (None, "JSON object"),
        ({"": 1}, "keys"),
        ({"k" * 129: 1}, "keys"),
        ({"a": {1: 2}}, "keys"),
        ({"a": float("nan")}, "finite"),
        ({"a": [float("inf")]}, "finite"),
        ({"a": 2**63}, "64 bits"),
        ({"a": "\0"}, "U\\+0000"),
        ({"a\0": 1}, "U\\+0000"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": {1, 2}}, "JSON values"),
        ({"a": b"bytes"}, "JSON values"),
        (nested(17), "deeper than 16"),
        ({str(number): 1 for number in range(65)}, "64 keys"),
        ({"a": "x" * MAX_METADATA_BYTES}, "exceed"),
    ],
)
def test_anything_else_is_refused_with_the_reason(metadata: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_metadata(metadata)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{", "valid JSON"),
        ("", "valid JSON"),
        ("[1]", "JSON object"),
        ('{"a": NaN}', "finite"),
        ('{"a":' * 1_000 + "1" + "}" * 1_000, "nested|deeper"),
        ("[" * 10_000, "nested"),
        (" " * (MAX_METADATA_BYTES + 1), "exceed"),
        ('{"a": ' + "1" * 5_000 + "}", "."),
    ],
)
def test_bad_json_is_refused_with_the_reason(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_metadata(source)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # the test cases of RFC 7396, appendix A, as far as both are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(target: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    before = json.dumps(target)
    assert merge_patch(target, patch) == merged
    assert json.dumps(target) == before, "the target must not change"


def documents(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects of some scalars."""
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=10,
    )
    return st.dictionaries(st.text(max_size=3), values, max_size=4)


SCALARS = st.booleans() | st.integers() | st.text(max_size=5)


@given(documents(st.none() | SCALARS), documents(st.none() | SCALARS))
def test_merging_twice_changes_nothing_more(target: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(documents(st.none() | SCALARS), documents(SCALARS))
def test_a_patch_turns_one_object_into_another(before: dict[str, Any], after: dict[str, Any]) -> None:
    made = merge_patch(before, make_patch(before, after))
    assert json.dumps(made, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert make_patch(before, before) == {}
