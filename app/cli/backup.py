"""`visem backup`: a library in one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import FAILED
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import print_json, printable, say, shown, size

if TYPE_CHECKING:
    from index.backup import Backup

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup: a tar file.", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(backup)


def backup(file: FileArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Back up the library to one file: a consistent snapshot of records and files. The service may keep running.

    Keys and images in place are not included. An existing file is not overwritten.
    """
    from app.libraries import config
    from index.backup import back_up

    tell("Backed up", file, back_up(config(read_settings(library=library)), file), json)


def tell(done: str, path: Path, made: Backup, json: bool) -> None:
    """Print what was done; Exit if something had been lost already."""
    if json:
        print_json({"path": shown(path.absolute()), **asdict(made)})
    else:
        say(f"{done} {made.images:,} images and {made.sentences:,} sentences, {size(made.size)}: {shown(path)}")
    for problem in made.problems:
        say(f"visem: {printable(problem)}")
    if made.problems:
        raise typer.Exit(FAILED)
