"""`visem watch`: the library follows folders while the command runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import INTERRUPTED
from app.cli.in_place import describe_counts, register_folders
from app.cli.interruption import Interruption
from app.cli.options import BundleOption, LibraryOption, read_settings
from app.cli.output import say, shown
from app.cli.sessions import below_searches, open_service

if TYPE_CHECKING:
    from app.ingest.sources.progress import FileOutcome, PassProgress
    from index import Source


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(watch)


def watch(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders to watch; without any, all sources of the library."),
    ] = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
) -> None:
    """Watch folders until Ctrl-C and keep the library up to date with files added, changed, moved or deleted there.

    Folders that are not sources yet become sources. The service does the same for all sources of its library.
    """
    settings = read_settings(library=library, bundle=bundle)
    below_searches()
    with open_service(settings, create=bool(folders)) as service:
        from app.ingest.sources.following import SourceFollower

        sources = register_folders(service, folders) if folders else service.library.sources.all()
        if not sources:
            say("The library has no sources. Name a folder, as in: visem watch ~/Pictures")
        follower = SourceFollower(
            service.library,
            service.ingest,
            settings.model_copy(update={"sources": ()}),
            only=[source.id for source in sources],
            tell=_tell,
            finished=_reporting(),
        )
        with Interruption() as interruption:
            follower.start()
            while sources and not interruption.requested:
                time.sleep(0.2)
            follower.close()
    raise typer.Exit(INTERRUPTED if sources else 0)


def _tell(source: Source, outcome: FileOutcome) -> None:
    if outcome.status == "refused":
        say(f"Refused {shown(Path(source.root, outcome.path))}: {outcome.reason}")


def _reporting() -> Callable[[Source, PassProgress], None]:
    """Says what a pass did, unless it did nothing; the first one of each source says so, too."""
    said: set[str] = set()

    def finished(source: Source, progress: PassProgress) -> None:
        did = progress.done or progress.returned or progress.missing or progress.pruned
        if progress.away is not None:
            say(f"{shown(source.root)}: {progress.away}")
        elif did or source.id not in said:
            say(f"{shown(source.root)}: {describe_counts(asdict(progress))}.")
        said.add(source.id)

    return finished
