"""`visem search`: from words, pictures and sums of them to pictures and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from app.cli.failures import USAGE, CommandError
from app.cli.files import read_file
from app.cli.options import (
    BundleOption,
    CameraOption,
    ConceptOption,
    CursorOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    NearOption,
    TakenAfterOption,
    TakenBeforeOption,
    read_filters,
    read_photo_filter,
    read_settings,
)
from app.cli.output import print_json, print_rows, printable, say, shown, write
from app.cli.sessions import open_service

if TYPE_CHECKING:
    from app.search.results import FoundHit, SearchResult
    from app.service import Service


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
        typer.Option(
            "--image", exists=True, dir_okay=False, metavar="FILE", help="An image file that EXPR is added to."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="Most hits to return.")] = 10,
    target: Annotated[Literal["images", "sentences"], typer.Option(help="What to search.")] = "images",
    min_score: Annotated[float | None, typer.Option(min=-1, max=1, help="Leave out hits with a lower score.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out hits with a lower confidence.")
    ] = None,
    concept: ConceptOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each operand adds to each score.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Find records that match every operand, instead of the sum of the operands.")
    ] = False,
    include_query_items: Annotated[
        bool, typer.Option("--include-query-items", help="Do not leave out the records that the query names.")
    ] = False,
    filters: FilterOption = None,
    taken_after: TakenAfterOption = None,
    taken_before: TakenBeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    cursor: CursorOption = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Find images or sentences by words, an image, or both.

    Operators need a space on both sides: + and - add and subtract, `2 * red` gives a weight. Double quotes make a
    phrase; image:ID and sentence:ID name stored records. The file of --image is not stored.
    """
    expression = " ".join(words or ()).strip()
    if not expression and image is None:
        raise CommandError(
            "invalid_request", 'Give an expression or --image FILE, as in: visem search "a dog runs".', USAGE
        )
    settings = read_settings(library=library, bundle=bundle)
    wanted = read_filters(filters)
    photo = read_photo_filter(taken_after=taken_after, taken_before=taken_before, camera=camera, near=near)
    content = None if image is None else read_file(image, settings.max_image_bytes)
    with open_service(settings) as service:
        from app.concepts import split_concepts
        from app.search.results import SearchOptions

        options = SearchOptions(
            target=target,
            k=k,
            cursor=cursor,
            min_score=min_score,
            filters=wanted,
            include_query_items=include_query_items,
            min_confidence=min_confidence,
            concepts=split_concepts(",".join(concept or ())),
            photo=photo,
            explain=explain,
            all=every,
        )
        result = service.search(expression or None, options, image=content)
        if json:
            print_json(_document(service, result))
        else:
            _print_hits(service, result)


def _document(service: Service, result: SearchResult) -> dict[str, Any]:
    """The answer of HTTP, and where the files of images are."""
    from app.http import responses

    document = responses.search_answer(result).model_dump(mode="json")
    for found, hit in zip(document["hits"], result.hits, strict=True):
        if found["kind"] == "image":
            found["path"] = _path(service, hit)
    return document


def _path(service: Service, hit: FoundHit) -> str | None:
    from index import ContentMissing, RecordNotFound

    try:
        with service.image_content(hit.record.id) as file:
            return None if file.content.path is None else shown(file.content.path)
    except (ContentMissing, RecordNotFound):  # deleted at this moment, or damaged: `visem info --check` tells
        return None


def _print_hits(service: Service, result: SearchResult) -> None:
    from index import SentenceRecord

    if result.unknown_words:
        say(f"Ignored, because the model does not know them: {printable(', '.join(result.unknown_words))}.")
    if not result.hits and result.best_confidence is not None:
        say(f"Nothing here matches: the best of the {result.target} has a confidence of {result.best_confidence:.2f}.")
    elif not result.hits:
        say(f"No {result.target} found.")
    columns = ["score", "id", *(["sentence"] if result.target == "sentences" else ["name", "file"])]
    rows = []
    for hit in result.hits:
        record = hit.record
        about = (
            [record.text] if isinstance(record, SentenceRecord) else [record.filename or "", _path(service, hit) or ""]
        )
        rows.append([f"{hit.score:.3f}", record.id, *about])
        if hit.confidence is not None:
            rows[-1].append(f"{hit.confidence:.2f}")
    if any(hit.confidence is not None for hit in result.hits):
        columns.append("confidence")
    print_rows(columns, rows)
    for hit in result.hits:
        if hit.explanation is not None:
            shares = "  ".join(f"{one.contribution:+.3f} {printable(one.operand)}" for one in hit.explanation)
            write(f"{hit.record.id}: {shares}\n")
