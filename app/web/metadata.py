"""Metadata as rows of a form: text as it is, everything else as JSON, and back without changing what a value is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.http.problem_responses import invalid_field
from app.metadata import make_patch, parse_metadata


def rows(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of key and value as text, and an empty one for what is to be added."""
    return [*((key, _shown(value)) for key, value in metadata.items()), ("", "")]


def remember(metadata: Mapping[str, Any]) -> str:
    """What a form was made from, as text that comes back from browsers unchanged; `recall` reads it."""
    return json.dumps(metadata, ensure_ascii=False)


def recall(text: str) -> dict[str, Any]:
    """The metadata that a form was made from; Problem for anything that `remember` did not write."""
    try:
        return parse_metadata(text)
    except ValueError:
        raise invalid_field("was", "the form does not say what it showed; load the page again") from None


def read_changes(shown: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The merge patch (RFC 7396) with what somebody changed in the rows of a form. Problem for an ambiguous row.

    The form was made from `shown`, so its first rows are those of `shown`, in order; further ones are new. What
    was not touched is not in the patch, whatever others did to it meanwhile, or browsers to its line breaks. A
    value that was a number, a list or the like remains JSON; any other value is text.
    """
    wanted: dict[str, Any] = {}
    before = list(shown.items())
    for index, (key, text) in enumerate(pairs):
        name, value = _read_new(key, text) if index >= len(before) else _read_row(before[index], key, text)
        if not name:
            if text.strip():
                raise invalid_field("metadata", f"the value {text[:40]!r} has no name")
            continue
        if name in wanted:
            raise invalid_field("metadata", f"there are two rows for {name[:40]!r}")
        wanted[name] = value
    return make_patch(shown, wanted)


def _read_row(before: tuple[str, Any], key: str, text: str) -> tuple[str, Any]:
    """Name and value of a row that showed a key and a value."""
    old_key, old_value = before
    name = old_key if key == _without_breaks(old_key) else key.strip()
    if not name or _line_feeds(text) == _shown(old_value):
        return name, old_value
    return name, _line_feeds(text) if isinstance(old_value, str) else _json(name, text)


def _read_new(key: str, text: str) -> tuple[str, str]:
    return key.strip(), _line_feeds(text)


def _shown(value: Any) -> str:
    return _line_feeds(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line_feeds(text: str) -> str:
    """Text as a browser has it in a <textarea>; it sends it with CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_breaks(text: str) -> str:
    """Text as a browser has it in an <input>."""
    return text.replace("\r", "").replace("\n", "")


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid_field(
            "metadata",
            f'{key[:40]!r} holds JSON: a number, true, false, a list or an object; text stands in "quotes" there',
        ) from None
