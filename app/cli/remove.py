"""`visem remove`: images out of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from app.cli.failures import FAILED
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, printable, say, write
from app.cli.sessions import open_library


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(remove)


def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of images, as `search` shows them.")],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Remove images from the library, with their files and the captions that were written for them.

    This cannot be undone. Ids that do not exist are reported and the others are removed; the exit status is then 1.
    """
    with open_library(read_settings(library=library)) as opened:
        remove_each(opened.delete_image, ids, "image", json=json)


def remove_each(delete: Callable[[str], None], ids: Sequence[str], kind: str, *, json: bool) -> None:
    """Remove records, each by itself, and report."""
    from index import RecordNotFound

    removed: list[str] = []
    missing: list[str] = []
    for record_id in dict.fromkeys(one.removeprefix(f"{kind}:") for one in ids):
        try:
            delete(record_id)
        except RecordNotFound as error:
            missing.append(record_id)
            say(f"visem: {printable(str(error))}")
        else:
            removed.append(record_id)
    if json:
        print_json({"removed": removed, "not_found": missing})
    else:
        write(f"Removed {count(len(removed), kind)}.\n")
    if missing:
        raise typer.Exit(FAILED)
