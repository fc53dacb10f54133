"""`visem sources`: the folders whose pictures stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failures import CommandError
from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, print_rows, real_path, shown, write
from app.cli.sessions import open_library

if TYPE_CHECKING:
    from index import Library, Source

sources = typer.Typer(no_args_is_help=True)

SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help="Id of a source, or its folder.")]


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(sources, name="sources", help="Folders indexed in place: list, pause, resume, forget.")


@sources.command("list")
def list_sources(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the folders, the number of files in each state, and problems."""
    with open_library(read_settings(library=library)) as opened:
        documents = [_document(opened, source) for source in opened.sources.all()]
    if json:
        print_json({"sources": documents})
        return
    print_rows(
        ("id", "state", "photographs", "missing", "refused", "folder", "remark"),
        [
            [
                one["id"],
                "paused" if one["paused"] else one["state"],
                *(f"{one['files'].get(state, 0):,}" for state in ("present", "missing", "refused")),
                shown(one["path"]),
                one["reason"] or "",
            ]
            for one in documents
        ],
    )


@sources.command()
def pause(source: SourceArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Stop updates from a folder until `resume`. What is stored stays as it is."""
    _set_paused(source, library, json, True)


@sources.command()
def resume(source: SourceArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Resume updates from a folder."""
    _set_paused(source, library, json, False)


@sources.command()
def forget(source: SourceArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Remove a folder from the library, with the photographs that are only there. The files stay where they are."""
    with open_library(read_settings(library=library)) as opened:
        removed = opened.sources.forget(_find(opened, source).id)
    if json:
        print_json({"removed": removed})
    else:
        write(f"Forgotten, with {count(removed, 'photograph')}. The files are where they were.\n")


def _set_paused(name: str, library: Any, json: bool, paused: bool) -> None:
    with open_library(read_settings(library=library)) as opened:
        document = _document(opened, opened.sources.pause(_find(opened, name).id, paused))
    if json:
        print_json(document)
    else:
        write(f"{shown(document['path'])} is {'paused' if paused else 'followed again'}.\n")


def _find(library: Library, name: str) -> Source:
    """The source with this id or folder; CommandError."""
    from pathlib import Path

    folder = str(Path(name).expanduser().resolve())
    for source in library.sources.all():
        if name == source.id or folder == source.root:
            return source
    raise CommandError("source_not_found", f"{shown(name)} is not a source. `visem sources list` shows all sources.")


def _document(library: Library, source: Source) -> dict[str, Any]:
    return {
        "id": source.id,
        "path": real_path(source.root),
        "state": source.state,
        "paused": source.paused,
        "reason": None if source.reason is None else real_path(source.reason),
        "finished_at": None if source.finished_at is None else source.finished_at.isoformat(),
        "files": library.sources.counts(source.id),
    }
