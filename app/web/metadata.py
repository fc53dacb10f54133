"""Metadata as rows of a form: text as it is, everything else as JSON, and back without changing what a value is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import invalid_field


def rows(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of key and value as text, and an empty one for what is to be added."""
    return [*((key, _shown(value)) for key, value in metadata.items()), ("", "")]


def read_changes(metadata: Mapping[str, Any], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The merge patch (RFC 7396) that makes metadata what the rows say. Problem for a row that is ambiguous.

    A key that held a number, a list or the like keeps holding JSON; any other value is text.
    """
    wanted: dict[str, str] = {}
    for key, value in pairs:
        name = key.strip()
        if not name:
            if value.strip():
                raise invalid_field("metadata", f"the value {value[:40]!r} has no name")
            continue
        if name in wanted:
            raise invalid_field("metadata", f"there are two rows for {name[:40]!r}")
        wanted[name] = value.replace("\r\n", "\n")
    patch: dict[str, Any] = {key: None for key in metadata if key not in wanted}
    for key, text in wanted.items():
        if key in metadata and _shown(metadata[key]) == text:
            continue
        if key in metadata and not isinstance(metadata[key], str):
            patch[key] = _json(key, text)
        else:
            patch[key] = text
    return patch


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid_field(
            "metadata",
            f'{key[:40]!r} holds JSON: a number, true, false, a list or an object; text stands in "quotes" there',
        ) from None
