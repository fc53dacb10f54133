"""`visem map`: the library as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import print_json, printable, say, shown, write
from app.cli.sessions import open_service

if TYPE_CHECKING:
    from app.maps.projection import Map
    from app.service import Service


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("map")(draw)


def draw(
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--words", metavar="WORDS", help='Words to put on the map, separated by commas: "dog,cat,black dog".'
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write: PNG or JPEG.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=5_000, help="Most images; larger libraries are sampled.")] = 200,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Draw images and words on a plane, projected so that they differ most.

    The same library gives the same map.
    """
    if output is None and not json:
        raise CommandError("invalid_request", "Say where to draw it: -o map.png, or use --json.", USAGE)
    if output is not None and output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise CommandError("invalid_request", f"{shown(output)} is not a PNG or JPEG. Use -o map.png.", USAGE)
    texts = [text.strip() for one in words or () for text in one.split(",") if text.strip()]
    with open_service(read_settings(library=library, bundle=bundle)) as service:
        drawn = service.map(texts, limit)
        if output is not None:
            _save(service, drawn, output)
    if drawn.unknown_words:
        say(f"Ignored, because the model does not know them: {printable(', '.join(drawn.unknown_words))}.")
    if json or output is None:
        from app.http import responses

        print_json(responses.map_document(drawn))
        return
    write(f"{shown(output)}: {len(drawn.images.ids):,} of {drawn.total:,} images and {len(texts):,} words.\n")


def _save(service: Service, drawn: Map, output: Path) -> None:
    from app.maps.drawing import paint
    from index import ContentMissing, RecordNotFound

    def thumbnail(image_id: str) -> bytes | None:
        try:
            with service.image_thumbnail(image_id) as file:
                return file.content.read()
        except (ContentMissing, RecordNotFound):  # deleted at this moment
            return None

    paint(drawn, thumbnail).save(output)
