"""A JSON document that is printed while it grows, so that its list need not fit into the memory."""

from __future__ import annotations

from typing import Any

import typer

from app.cli.options import JSON_WANTED
from app.cli.output import json_text, write


class JsonStream:
    """Prints `{"NAME": [items...], other members...}`, an item at a time."""

    def __init__(self, ctx: typer.Context, name: str) -> None:
        """Begin the document. Whatever goes wrong later, no other one may be printed."""
        ctx.meta[JSON_WANTED] = False
        self._separator = "\n"
        write(f"{{{json_text(name)}: [")

    def add(self, item: dict[str, Any]) -> None:
        """Print an item of the list."""
        write(self._separator + json_text(item))
        self._separator = ",\n"

    def end(self, **members: Any) -> None:
        """Print the other members, and end the document."""
        write("\n]" + "".join(f", {json_text(key)}: {json_text(value)}" for key, value in members.items()) + "}\n")
