"""Metadata and the filters on it: what is accepted, and how a value is written for comparison."""

from __future__ import annotations

import json
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
    """Return each value as the text that a filter compares: strings as they are, everything else as JSON."""
    return {name: _as_text(value) for name, value in metadata.items()}


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


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
