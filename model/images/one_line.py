"""Text of files as a line to keep and to show."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, halves of pairs, nothing, line ends
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff")


def one_line(text: str | None, most: int) -> str | None:
    """Return text in its composed form, on one line, of at most so many characters; None when nothing is left."""
    if not text:
        return None
    shown = "".join(
        " " if unicodedata.category(char) in _HIDDEN or char in _REORDERING else char for char in text[: 8 * most]
    )
    return " ".join(unicodedata.normalize("NFC", shown).split())[:most].strip() or None
