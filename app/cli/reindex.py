"""`visem reindex`: all vectors anew, by another bundle."""

from __future__ import annotations

import time

import typer

from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, write
from app.cli.progress import progress
from app.cli.sessions import open_library


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(reindex)


def reindex(library: LibraryOption = None, bundle: BundleOption = None, json: JsonOption = False) -> None:
    """Embed the whole library again with another bundle.

    Repeat an interrupted command to continue. The library stays searchable with its old vectors until the new ones
    replace them, all at once.
    """
    settings = read_settings(library=library, bundle=bundle)
    with open_library(settings):  # before the model is loaded: it is quick to tell that there is none
        pass
    from app.reindex import reindex as embed_anew

    started = time.monotonic()
    with progress("Embedding", "records") as reporter:
        embed_anew(settings, reporter.update)
    with open_library(settings) as opened:
        space, images, sentences = opened.space, opened.count("images"), opened.count("sentences")
    if json:
        print_json(
            {
                "space": {"id": space.id, "name": space.name, "dimension": space.dimension},
                "images": images,
                "sentences": sentences,
                "seconds": round(time.monotonic() - started, 3),
            }
        )
    else:
        write(f"Embedded {count(images, 'image')} and {count(sentences, 'sentence')} with {space.name}.\n")
