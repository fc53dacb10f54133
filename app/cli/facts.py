"""`visem facts`: what the files of stored images say, for libraries of versions that did not ask them."""

from __future__ import annotations

import typer

from app.cli.failures import FAILED
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, say, write
from app.cli.progress import progress
from app.cli.sessions import open_library


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(facts)


def facts(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Read from the stored files when, where and with which camera photographs were taken, and titles and keywords.

    New images have these facts already: this is for libraries of earlier versions. Repeat an interrupted command to
    continue. The exit status is 1 if files are missing.
    """
    settings = read_settings(library=library)
    with open_library(settings) as opened, progress("Reading", "files") as reporter:
        from app.ingest.facts import fill_facts
        from model import threads

        filled = fill_facts(opened, settings.decode_threads or threads.available(), reporter.update)
    if json:
        print_json({"read": filled.read, "missing": filled.missing})
    else:
        write(f"Read {count(filled.read, 'file')}.\n")
    if filled.missing:
        say(f"visem: {count(filled.missing, 'file')} missing: `visem info --check` lists them.")
        raise typer.Exit(FAILED)
