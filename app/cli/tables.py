"""Cells of tables that spreadsheets open: none of them must be taken for a formula."""

from __future__ import annotations

from pathlib import Path

from app.cli.output import real_path

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that spreadsheets take for a formula."""


def path_cell(path: Path) -> str:
    """A path, which still names the same file."""
    text = real_path(path)
    return f"./{text}" if text.startswith(_FORMULA) else text


def text_cell(text: str) -> str:
    """A text, with an apostrophe before what looks like a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
