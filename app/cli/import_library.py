"""`visem import library`: what `visem export` wrote, into any library."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from app.cli.export import ArchiveArgument
from app.cli.failures import FAILED
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, printable, real_path, say, shown
from app.cli.progress import progress
from app.cli.rendering import thumbnail_renderer

if TYPE_CHECKING:
    from index.moving.importing import Imported

_SHOWN = 20


def import_library(file: ArchiveArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Import a library that `visem export` wrote, into a new library or an existing one.

    The service may keep running. Every file is compared with its SHA-256. Repeat an interrupted import to continue:
    what is there already stays as it is. Folders in place come along paused: `visem sources resume` starts them.
    """
    from app.libraries import config
    from index.moving.files import import_library as import_from

    settings = read_settings(library=library)
    with progress("Importing", "records") as reporter, thumbnail_renderer() as render:
        made = import_from(config(settings), file, render=render, progress=reporter.update)
    taken = made.taken
    left_out = [*taken.conflicts, *made.problems]
    if json:
        document = {**asdict(taken), "in_place": made.in_place, "sources": list(map(real_path, made.sources))}
        print_json({"path": shown(file.absolute()), **document, "problems": made.problems})
    else:
        _tell(made)
    for line in left_out[:_SHOWN]:
        say(f"visem: {printable(line)}")
    if len(left_out) > _SHOWN:
        say(f"visem: … and {len(left_out) - _SHOWN:,} more, which --json lists.")
    if left_out:
        raise typer.Exit(FAILED)


def _tell(made: Imported) -> None:
    taken = made.taken
    for what, tally in (("image", taken.images), ("sentence", taken.sentences), ("caption", taken.captions)):
        parts = [f"{tally.new:,} imported"]
        parts += [f"{tally.known:,} there already"] if tally.known else []
        parts += [f"{tally.refused:,} left out"] if tally.refused else []
        say(f"{count(tally.total, what)}: {', '.join(parts)}.")
    if taken.differing:
        say(f"{count(taken.differing, 'record')} there already with other metadata, which stay.")
    if made.sources:
        folders = ", ".join(map(shown, made.sources))
        say(
            f"{count(made.in_place, 'image')} in place, in {folders}: their files are expected there. New folders are "
            "paused: look at `visem sources list`, then `visem sources resume FOLDER`."
        )
