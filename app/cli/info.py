"""`visem info`: versions, bundle and library, and whether all is well with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failures import FAILED, error_document
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, printable, say, shown, size, write
from app.cli.rendering import thumbnail_renderer
from app.cli.sessions import open_library
from app.problems import describe

if TYPE_CHECKING:
    from app.settings import Settings


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(info)


def info(
    library: LibraryOption = None,
    bundle: BundleOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Verify bundle and library; exit status 1 if something is wrong.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="With --check: also read every image file and compare its SHA-256.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First repair the library: make damaged thumbnails again, move damaged files aside, remove "
            "files that belong to no image. Implies --check --deep.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the version, the bundle and the contents of the library."""
    from app.version import VERSION

    settings = read_settings(library=library, bundle=bundle)
    problems: list[str] = []
    repaired = _repair(settings) if repair else []
    check, deep = check or deep or repair, deep or repair
    document: dict[str, Any] = {
        "version": VERSION,
        "bundle": _bundle(settings, problems),
        "library": _library(settings, problems, check=check, deep=deep),
    }
    document["matching"] = _matching(document)
    if check:
        document["problems"] = problems
    if repair:
        document["repaired"] = repaired
    if json:
        print_json(document)
    else:
        _print(document)
        if check and not problems:
            write(
                "check    bundle and library are intact" + ("\n" if deep else "; --deep also reads every image file\n")
            )
    for line in repaired:
        say(f"visem: {printable(line)}")
    for problem in problems:
        say(f"visem: {printable(problem)}")
    if problems:
        raise typer.Exit(FAILED)


def _repair(settings: Settings) -> list[str]:
    """Mend the library; what was done, a sentence each. LibraryError."""
    with thumbnail_renderer() as render, open_library(settings) as library:
        return library.repair(render)


def _bundle(settings: Settings, problems: list[str]) -> dict[str, Any] | None:
    """The bundle, whose checksums are verified; None, and the problem in the list, if it cannot be loaded."""
    from model.bundle import Bundle
    from model.errors import BundleError

    try:
        loaded = Bundle.load(settings.bundle)
    except BundleError as error:
        problems.append(str(error))
        return None
    config = loaded.config
    return {
        "path": shown(loaded.path.absolute()),
        "id": config.space_id,
        "name": config.name,
        "dimension": config.dimension,
        "has_graphs": loaded.has_graphs,
        "config": config.model_dump(mode="json"),
    }


def _library(settings: Settings, problems: list[str], *, check: bool, deep: bool) -> dict[str, Any] | None:
    """The library; None where there is none. Other errors are problems as well: this command has to tell."""
    from index import LibraryError, LibraryNotFound

    try:
        with open_library(settings) as opened:
            stats = opened.stats()
            if check:
                problems += opened.check(deep)
    except LibraryNotFound as error:
        if check:
            problems.append(str(error))
        return None
    except (LibraryError, OSError) as error:
        problems.append(describe(error)[1])
        return {"path": shown(settings.library.absolute()), "error": error_document(*describe(error))["error"]}
    space = {"id": stats.space.id, "name": stats.space.name, "dimension": stats.space.dimension}
    return {
        "path": shown(settings.library.absolute()),
        "id": stats.library_id,
        "space": space,
        "images": stats.images,
        "sentences": stats.sentences,
        "content_bytes": stats.content_bytes,
        "catalog_bytes": stats.catalog_bytes,
        "captions_owed": stats.captions_owed,
        "captions_given_up": stats.captions_given_up,
        "generation": stats.generation,
        "image_index": asdict(stats.image_index),
        "sentence_index": asdict(stats.sentence_index),
    }


def _matching(document: dict[str, Any]) -> bool | None:
    """Whether the bundle made the vectors of the library; None if one of them is not there."""
    bundle, library = document["bundle"], document["library"]
    if bundle is None or library is None or "error" in library:
        return None
    return bool(bundle["id"] == library["space"]["id"])


def _print(document: dict[str, Any]) -> None:
    write(f"visem {document['version']}\n")
    bundle, library = document["bundle"], document["library"]
    if bundle is not None:
        write(f"bundle   {bundle['name']}, {bundle['dimension']} dimensions, in {bundle['path']}\n")
        if not bundle["has_graphs"]:
            write(f"         a CPU cannot run it yet: `visem train convert {bundle['path']}` adds the graphs\n")
    if library is None:
        write("library  none yet: `visem add` creates it\n")
        return
    write(f"library  {library['path']}\n")
    if "error" in library:
        write("         cannot be opened\n")
        return
    for name, key in (("images", "image_index"), ("sentences", "sentence_index")):
        index = library[key]
        measured = index["kind"] != "exact" and index["recall"] is not None
        recall = f", recall {index['recall']:.3f}" if measured else ""
        waiting = f", {index['waiting']:,} still to be written" if index["waiting"] else ""
        records = count(library[name], name.removesuffix("s"))
        write(f"         {records} (index: {index['kind']}{recall}{waiting})\n")
    write(f"         {size(library['content_bytes'])} of files, {size(library['catalog_bytes'])} of records\n")
    if library["captions_owed"]:
        write(f"         captions of {count(library['captions_owed'], 'image')} are to come\n")
    if library["captions_given_up"]:
        images = count(library["captions_given_up"], "image")
        write(f"         captions of {images} failed too often: `visem captions retry` attempts them again\n")
    if document["matching"] is False:
        name = library["space"]["name"]
        write(f"         embedded with {name}, another bundle: `visem reindex` embeds it again\n")
