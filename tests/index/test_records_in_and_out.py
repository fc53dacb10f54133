"""Metadata, vectors and filters at the border of the package."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import index
from index.metadata import checked_filters, decode_metadata, encode_metadata, labels, sought_labels
from index.vector_encoding import pack, unit_rows, unit_vector, unpack

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(metadata=st.dictionaries(_text, _json, max_size=5))
def test_metadata_comes_back_equal(metadata: dict[str, Any]) -> None:
    assert decode_metadata(encode_metadata(metadata)) == metadata


def deep() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(100_000):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        "text",
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": [float("-inf")]},
        {"x": {1: 2}},
        {1: "x"},
        {"x": (1, 2)},
        {"x": {1, 2}},
        {"x": b"bytes"},
        {"x": "\ud800"},
        {"x": np.float32(1)},
        {str(n): n for n in range(65)},
        {"x": "y" * 70_000},
        {"x": 10**5000},
        deep(),
    ],
)
def test_what_is_not_small_plain_json_is_refused(metadata: object) -> None:
    with pytest.raises(index.InvalidMetadata) as caught:
        encode_metadata(metadata)
    assert caught.value.code == "invalid_metadata"


def test_the_limits_themselves_are_allowed() -> None:
    assert encode_metadata({str(n): n for n in range(64)})
    size = len(json.dumps({"x": ""}))
    assert encode_metadata({"x": "y" * (16 * 1024 - size)})


def test_labels_tell_text_from_numbers_and_write_equal_ones_alike() -> None:
    metadata = {
        "s": "3",
        "i": 3,
        "f": 3.0,
        "z": -0.0,
        "t": True,
        "n": None,
        "o": {"b": 1.0, "a": ["e\u0301"]},
        "e\u0301": 1,
    }
    assert labels(metadata) == {
        "s": "3",
        "i": "\x1f3",
        "f": "\x1f3",
        "z": "\x1f0",
        "t": "true",
        "n": "null",
        "o": '{"a":["é"],"b":1}',
        "é": "\x1f1",
    }


@pytest.mark.parametrize(
    ("value", "sought"),
    [
        ("3", {"3", "\x1f3"}),
        ("3.0", {"3.0", "\x1f3"}),
        ("-0", {"-0", "\x1f0"}),
        ("1e3", {"1e3", "\x1f1000"}),
        ("007", {"007"}),
        ("true", {"true"}),
        ("NaN", {"NaN"}),
        ("1e999", {"1e999"}),
        ("9" * 5000, {"9" * 5000}),
        ("[" * 5000, {"[" * 5000}),
        ("[1.0, 2]", {"[1.0, 2]", "[1,2]"}),
        ("Cafe\u0301", {"Café"}),
        ('"3"', {'"3"'}),
    ],
)
def test_a_filter_seeks_the_text_and_the_json_that_it_writes(value: str, sought: set[str]) -> None:
    assert set(sought_labels(value)) == sought


@pytest.mark.parametrize("filters", [{str(n): "x" for n in range(17)}, {"a": 3}, {3: "a"}, {"a": "\ud800"}])
def test_filters_that_cannot_be_applied_are_refused(filters: Any) -> None:
    with pytest.raises(index.InvalidFilter) as caught:
        checked_filters(filters)
    assert caught.value.code == "invalid_filter"


def test_the_order_of_filters_does_not_matter() -> None:
    assert list(checked_filters({"b": "1", "a": "2"}).items()) == [("a", "2"), ("b", "1")]
    assert checked_filters(None) == checked_filters({}) == {}


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_vectors_become_unit_length_whatever_their_size(scale: float) -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(5, 64)) * scale, 64)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_packing_costs_little_and_keeps_the_length() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(50, 512)), 512)
    blobs = pack(rows)
    assert {len(blob) for blob in blobs} == {1024}
    again = unpack(blobs, 512)
    np.testing.assert_allclose((rows * again).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(again, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(unpack(pack(again), 512), again)
    assert unpack([], 512).shape == (0, 512)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 4)),
        [[1, 2, np.nan, 4]],
        [[np.inf, 0, 0, 0]],
        [[1, 2, 3]],
        [1, 2, 3, 4],
        "text",
        [[1], [1, 2]],
    ],
)
def test_rows_without_a_direction_are_refused(rows: Any) -> None:
    with pytest.raises(index.InvalidVector) as caught:
        unit_rows(rows, 4)
    assert caught.value.code == "invalid_vector"


def test_a_stored_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(index.InvalidVector, match="8 bytes"):
        unpack([b"123456"], 4)
    with pytest.raises(index.InvalidVector):
        unpack([b"\x00" * 8], 4)
    with pytest.raises(index.InvalidVector, match="one vector"):
        unit_vector(np.ones((1, 4)), 4)
