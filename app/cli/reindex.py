"""`visem reindex`: all vectors anew, by another bundle."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, write
from app.cli.progress import progress
from app.cli.sessions import below_searches, open_library

if TYPE_CHECKING:
    from app.settings import Settings
    from index import Target

TARGETS: tuple[Target, ...] = ("images", "sentences")


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(reindex)


def reindex(
    library: LibraryOption = None,
    bundle: BundleOption = None,
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors", help="Embed nothing: build the vector indexes (FAISS or Milvus) anew from stored vectors."
        ),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(min=1, metavar="N", help="With --vectors: at most so many vectors a second, to spare searches."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Embed the whole library again with another bundle.

    Repeat an interrupted command to continue. The library stays searchable with its old vectors until the new ones
    replace them, all at once. The same holds for indexes with --vectors.
    """
    if rate is not None and not vectors:
        raise CommandError("invalid_request", "--rate is for --vectors.", USAGE)
    settings = read_settings(library=library, bundle=bundle)
    with open_library(settings):  # before the model is loaded: it is quick to tell that there is none
        pass
    below_searches()
    if vectors:
        _rebuild(settings, rate, json)
    else:
        _embed(settings, json)


def _rebuild(settings: Settings, rate: float | None, json: bool) -> None:
    """Build both indexes anew."""
    from index.pacing import Pace

    indexes: dict[Target, dict[str, Any]] = {}
    with progress("Building the index", "vectors") as reporter, open_library(settings) as opened:
        for target in TARGETS:
            started = time.monotonic()
            reporter.restart()
            stats = opened.rebuild_index(target, Pace(rate, reporter.update))
            seconds = time.monotonic() - started
            indexes[target] = {**asdict(stats), "seconds": round(seconds, 3)}
    if json:
        print_json({"indexes": indexes})
        return
    for target, index in indexes.items():
        built = f"built in {index['seconds']:,.1f} s, {index['size'] / max(index['seconds'], 1e-3):,.0f} vectors/s"
        done = "searched exhaustively, without an index" if index["kind"] == "exact" else f"{index['kind']}, {built}"
        write(f"{index['size']:,} {target}: {done}.\n")


def _embed(settings: Settings, json: bool) -> None:
    """Embed everything anew."""
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
