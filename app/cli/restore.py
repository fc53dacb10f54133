"""`visem restore`: a library of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.backup import FileArgument, tell
from app.cli.options import JsonOption


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(restore)


def restore(
    file: FileArgument,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The new library: a folder that does not exist yet or is empty.", show_default=False
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Restore a library from a backup: every file is compared with its SHA-256; all of it is restored, or none."""
    from index.backup import restore as restore_from

    tell("Restored", folder, restore_from(file, folder), json)
