"""Metadata and the filters on it: what is accepted, and how a value is written for comparison."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, cast

from index.errors import InvalidFilter, InvalidMetadata
from index.types import Filters, Metadata

ORIGIN = "origin"
"""The key that says `captioner` in the metadata of a sentence that a captioner wrote and nobody made their own."""

MAX_KEYS = 64
"""How many keys the metadata of one record may have."""

MAX_BYTES = 16 * 1024
"""How long the metadata of one record may be, as JSON in UTF-8."""

MAX_FILTERS = 16
"""How many filters one query may have; each is a join."""

_NUMBER = "\x1f"
"""What the labels of numbers begin with: "2024.0" as text is not the number 2024."""


def encode_metadata(metadata: object) -> str:
    """Return `metadata` as JSON text that decodes to an equal object; InvalidMetadata."""
    if not isinstance(metadata, dict):
        raise InvalidMetadata("Metadata must be a JSON object.")
    if len(metadata) > MAX_KEYS:
        raise InvalidMetadata(f"Metadata may have at most {MAX_KEYS} keys; this has {len(metadata)}.")
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        size = len(text.encode("utf-8"))
        same = json.loads(text) == metadata
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: NaN, lone surrogates, cycles
        raise InvalidMetadata(f"Metadata must be plain JSON: {error}.") from error
    if not same:
        raise InvalidMetadata("Metadata must be plain JSON: keys are strings, sequences are lists.")
    if size > MAX_BYTES:
        raise InvalidMetadata(f"Metadata may take at most {MAX_BYTES} bytes as JSON; this takes {size}.")
    return text


def decode_metadata(text: str) -> Metadata:
    """Return what `encode_metadata` made into text."""
    return cast(Metadata, json.loads(text))


def labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return each name and value as the texts that filters compare; of names that are the same text, the last one.

    Text is text in its composed form (NFC), everything else is JSON. Numbers are told from text by a mark, and equal
    numbers are written alike: 2024 and 2024.0, 0 and -0.0.
    """
    return {filter_name(name): _label(value) for name, value in metadata.items()}


def filter_name(name: str) -> str:
    """Return a name as `labels` writes it."""
    return unicodedata.normalize("NFC", name)


def sought_labels(value: str) -> list[str]:
    """Return the labels that a filter with this value finds: that of the text, and that of the JSON it may be."""
    found = [filter_name(value)]
    try:
        written = json.loads(value, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return found
    if isinstance(written, int | float | list | dict) and (label := _label(written)) not in found:
        found.append(label)
    return found


def checked_filters(filters: Mapping[str, str] | None) -> Filters:
    """Return the filters as a dictionary in the order of their names; InvalidFilter."""
    if not filters:
        return {}
    if len(filters) > MAX_FILTERS:
        raise InvalidFilter(f"A query may have at most {MAX_FILTERS} metadata filters.")
    for name, value in filters.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidFilter("A metadata filter is a key and the text of its value, both strings.")
        try:
            f"{name}{value}".encode()
        except UnicodeEncodeError as error:
            raise InvalidFilter("A metadata filter must be valid Unicode.") from error
    return dict(sorted(filters.items()))


def _label(value: object) -> str:
    value = _canonical(value)
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{_NUMBER}{text}" if is_number else text


def _canonical(value: object) -> Any:
    """The value with text in its composed form and whole numbers as such, however deep they stand."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {unicodedata.normalize("NFC", key): _canonical(item) for key, item in value.items()}
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _no_number(constant: str) -> Any:
    """NaN and Infinity are no JSON, though Python reads them."""
    raise ValueError(constant)
