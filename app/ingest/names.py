"""File names of clients: text to show, never a path."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_LENGTH = 255

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that show nothing or reorder what is shown: controls, bidirectional marks, ..."""


def display_name(name: str | None) -> str | None:
    """Reduce what a client calls a file to something safe to store and show; None if the result is empty.

    Directories are dropped (browsers send them for whole folders), invisible characters too, and long names
    lose their middle, so that the ending stays.
    """
    if name is None:
        return None
    base = re.split(r"[/\\]", name)[-1]
    visible = "".join(char for char in base if unicodedata.category(char) not in _HIDDEN)
    shown = " ".join(visible.split())
    if shown in {"", ".", ".."}:
        return None
    if len(shown) > MAX_NAME_LENGTH:
        shown = f"{shown[: MAX_NAME_LENGTH - 33]}…{shown[-32:]}"
    return shown
