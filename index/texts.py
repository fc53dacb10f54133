"""What a sentence may be."""

from __future__ import annotations

from index.errors import InvalidText

MAX_TEXT_BYTES = 64 * 1024
"""How long a sentence may be, in UTF-8."""


def checked_text(text: str) -> str:
    """Return the text without surrounding white space; InvalidText."""
    stripped = text.strip()
    if not stripped:
        raise InvalidText("A sentence must not be empty.")
    try:
        size = len(stripped.encode())
    except UnicodeEncodeError as error:
        raise InvalidText("A sentence must be valid Unicode.") from error
    if size > MAX_TEXT_BYTES:
        raise InvalidText(f"A sentence may take at most {MAX_TEXT_BYTES} bytes in UTF-8; this takes {size}.")
    return stripped
