"""`visem export`: a library as one file that any other library can import."""

from __future__ import annotations

from datetime import datetime
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
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, even if an interrupted export could be continued.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export the library to one file, for `visem import library`. The service may keep running.

    Repeat an interrupted command to continue: all records are then of the moment when it was begun. Until it is
    complete, the archive is called FILE.unfinished.

    The library may be in a folder or on PostgreSQL, Milvus and S3, and so may the one that imports it. Files of images
    in place stay where they are, unless you add --copies. Keys are not included. An existing file is not overwritten.
    """
    from app.libraries import config
    from index.moving.files import export_library, unfinished_files

    settings = read_settings(library=library)
    with progress("Exporting", "records") as reporter:

        def resuming(begun: datetime) -> None:
            when = begun.astimezone().isoformat(" ", "seconds")
            reporter.note(
                f"Continuing the export that was begun at {when}. Records are of that moment (see --restart)."
            )

        options = {"copies": copies, "restart": restart}
        try:
            made = export_library(config(settings), file, **options, progress=reporter.update, resuming=resuming)
        except BaseException as error:
            if not isinstance(error, FileExistsError) and (kept := unfinished_files(file)):
                names = " and ".join(map(shown, kept))
                reporter.note(f"Repeat the command to continue, or remove what it has written: {names}.")
            raise
    about = made.counts
    if json:
        document = {
            **about.model_dump(),
            "begun": made.begun.isoformat(),
            "resumed": made.resumed,
            "in_place": made.in_place,
            "deleted": made.deleted,
            "problems": made.problems,
        }
        print_json({"path": shown(file.absolute()), "size": file.stat().st_size, **document})
    else:
        parts = f"{count(about.images, 'image')}, {count(about.sentences, 'sentence')} and "
        say(f"Exported {parts}{count(about.captions, 'caption')}, {size(file.stat().st_size)}: {shown(file)}")
        if made.resumed:
            say(f"{count(made.resumed, 'record')} of these were in it already when the command was repeated.")
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
