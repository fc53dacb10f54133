"""`visem export`: a library as one file that any other library can import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.failures import FAILED
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, printable, say, shown, size
from app.cli.progress import progress

ArchiveArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The archive: a tar file.", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(export)


def export(
    file: ArchiveArgument,
    library: LibraryOption = None,
    copies: Annotated[
        bool,
        typer.Option("--copies", help="Take along the files of images in place, too: they become copies."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export the library to one file, for `visem import library`. The service may keep running.

    The library may be in a folder or on PostgreSQL, Milvus and S3, and so may the one that imports it. Files of images
    in place stay where they are, unless you add --copies. Keys are not included. An existing file is not overwritten.
    """
    from app.libraries import config
    from index.moving.files import export_library

    with progress("Exporting", "records") as reporter:
        made = export_library(config(read_settings(library=library)), file, copies=copies, progress=reporter.update)
    about = made.counts
    if json:
        document = {**about.model_dump(), "in_place": made.in_place, "deleted": made.deleted, "problems": made.problems}
        print_json({"path": shown(file.absolute()), "size": file.stat().st_size, **document})
    else:
        parts = f"{count(about.images, 'image')}, {count(about.sentences, 'sentence')} and "
        say(f"Exported {parts}{count(about.captions, 'caption')}, {size(file.stat().st_size)}: {shown(file)}")
        if made.in_place:
            say(
                f"The files of {count(made.in_place, 'image')} are in folders in place and stay there. "
                "The new library expects them at the same paths; --copies takes them along instead."
            )
        if made.deleted:
            say(f"{count(made.deleted, 'image')} deleted meanwhile: not in the archive.")
    for problem in made.problems:
        say(f"visem: {printable(problem)}")
    if made.problems:
        raise typer.Exit(FAILED)
