"""`visem search`: from words, pictures and sums of them to pictures and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from app.cli.errors import USAGE, CommandError
from app.cli.files import read_file
from app.cli.options import (
    BundleOption,
    CursorOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    read_filters,
    read_settings,
)
from app.cli.output import print_json, print_rows, printable, say, shown
from app.cli.sessions import open_service

if TYPE_CHECKING:
    from app.results import SearchResult
    from app.service import Service
    from index import Hit


class ExpressionCommand(TyperCommand):
    """A command with an expression, which may begin with a minus: `visem search "- blue + red" --image F`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep such an expression from being taken for options: with a space before it, it is none."""
        return super().parse_args(ctx, [f" {arg}" if arg.startswith("- ") else arg for arg in args])


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command(cls=ExpressionCommand)(search)


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPR", help='What to find: "a dog runs", "car - blue + red", "image:ID - dog".'),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", exists=True, dir_okay=False, metavar="FILE", help="A picture which EXPR is added to."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many hits at most.")] = 10,
    target: Annotated[Literal["images", "sentences"], typer.Option(help="What to search.")] = "images",
    min_score: Annotated[float | None, typer.Option(min=-1, max=1, help="Leave out hits with a lower score.")] = None,
    filters: FilterOption = None,
    cursor: CursorOption = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Find images or sentences by words, a picture, or both.

    Operators stand between spaces: + and - add and subtract, `2 * red` weighs, double quotes make a phrase,
    image:ID and sentence:ID name what is stored. The file of --image is not stored.
    """
    expression = " ".join(words or ()).strip()
    if not expression and image is None:
        raise CommandError(
            "invalid_request", 'Give an expression or --image FILE, as in: visem search "a dog runs".', USAGE
        )
    settings = read_settings(library=library, bundle=bundle)
    wanted = read_filters(filters)
    content = None if image is None else read_file(image, settings.max_image_bytes)
    with open_service(settings) as service:
        from app.results import SearchOptions

        options = SearchOptions(target, k, cursor, min_score, wanted)
        result = service.search(expression or None, options, image=content)
        if json:
            print_json(_document(service, result))
        else:
            _print_hits(service, result)


def _document(service: Service, result: SearchResult) -> dict[str, Any]:
    """The answer of HTTP, and where the files of images are."""
    from app import convert

    document = convert.search_answer(result).model_dump(mode="json")
    for found, hit in zip(document["hits"], result.hits, strict=True):
        if found["kind"] == "image":
            found["path"] = _path(service, hit)
    return document


def _path(service: Service, hit: Hit) -> str | None:
    from index import ContentMissing, RecordNotFound

    try:
        return shown(service.image_content(hit.record.id)[1])
    except (ContentMissing, RecordNotFound):  # deleted at this moment, or damaged: `visem info --check` tells
        return None


def _print_hits(service: Service, result: SearchResult) -> None:
    if result.unknown_words:
        say(f"Ignored, as the model does not know them: {printable(', '.join(result.unknown_words))}.")
    if not result.hits:
        say(f"No {result.target} found.")
    if result.target == "sentences":
        rows = [[f"{hit.score:.3f}", hit.record.id, getattr(hit.record, "text", "")] for hit in result.hits]
        print_rows(("score", "id", "sentence"), rows)
        return
    rows = [
        [
            f"{hit.score:.3f}",
            hit.record.id,
            getattr(hit.record, "filename", None) or "",
            _path(service, hit) or "",
        ]
        for hit in result.hits
    ]
    print_rows(("score", "id", "name", "file"), rows)
