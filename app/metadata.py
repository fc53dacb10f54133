"""Metadata of records: a JSON object within limits, and merging a patch into it (RFC 7396)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from index import MAX_METADATA_BYTES, MAX_METADATA_KEYS

MAX_METADATA_DEPTH = 16
MAX_KEY_LENGTH = 128


def check_metadata(metadata: object) -> dict[str, Any]:
    """Return metadata that may be stored. ValueError says what is wrong with others.

    This is the check of what comes in; storage checks its own limits once more, also for what a patch makes of it.

    An object of at most 64 keys; keys non-empty and of at most 128 characters, values which JSON (RFC 8259)
    can express, nested at most 16 deep, and 16 KiB in all when written as JSON.
    """
    if not isinstance(metadata, dict):
        raise ValueError('must be a JSON object, such as {"album": "holiday"}')
    if len(metadata) > MAX_METADATA_KEYS:
        raise ValueError(f"must not have more than {MAX_METADATA_KEYS} keys")
    _check_value(metadata, depth=1)
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"must not exceed {MAX_METADATA_BYTES:,} bytes as JSON")
    return metadata


def parse_metadata(source: str) -> dict[str, Any]:
    """Read metadata from JSON text, as `check_metadata` allows it. ValueError for anything else."""
    if len(source) > MAX_METADATA_BYTES:
        raise ValueError(f"must not exceed {MAX_METADATA_BYTES:,} bytes as JSON")
    try:
        metadata = json.loads(source)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return check_metadata(metadata)


def merge_patch(target: object, patch: object) -> Any:
    """Apply a JSON merge patch: a null removes the key, an object merges, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def make_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch that turns one object into another. A null in the latter means that the key goes."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif json.dumps(before[key]) != json.dumps(value):  # == would not tell true from 1
            nested = isinstance(before[key], dict) and isinstance(value, dict)
            patch[key] = make_patch(before[key], value) if nested else value
    return patch


def _check_value(value: object, depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_LENGTH:
                raise ValueError(f"keys must be strings of 1 to {MAX_KEY_LENGTH} characters")
            _check_text(key)
            _check_value(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, depth + 1)
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("numbers must be finite")
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 2**63:  # beyond 64 bits databases and other programs would round it
            raise ValueError("integers must fit into 64 bits")
    elif value is not None and not isinstance(value, bool):
        raise ValueError(f"must consist of JSON values, not of {type(value).__name__}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("must not contain lone surrogates")
