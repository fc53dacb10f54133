"""`visem list`: the images of the library, with what their files say, also as a table for other programs."""

from __future__ import annotations

import csv
import json as json_module
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.options import (
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
from app.cli.output import count, print_json, print_rows, say, write
from app.cli.sessions import open_library
from app.cli.tables import text_cell

if TYPE_CHECKING:
    from index import ImageRecord, Library, Order, PhotoFilter

PAGE = 50
"""How many images are listed unless another number is asked for."""

_BATCH = 500
_COLUMNS = (
    "id", "filename", "taken", "camera", "lens", "latitude", "longitude", "title", "keywords",
    "width", "height", "size", "media_type", "created_at", "sha256", "metadata",
)  # fmt: skip


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("list")(list_)


def list_(
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many at most.  [50; with --csv: all]", show_default=False),
    ] = None,
    sort: Annotated[
        Literal["added", "taken"], typer.Option(help="By when images were added, or by when they were taken.")
    ] = "added",
    order: Annotated[Literal["desc", "asc"], typer.Option(help="The latest first, or the earliest first.")] = "desc",
    concept: ConceptOption = None,
    filters: FilterOption = None,
    taken_after: TakenAfterOption = None,
    taken_before: TakenBeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", dir_okay=False, help="Write a table; - for standard output."),
    ] = None,
    cursor: CursorOption = None,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """List images, newest first, with facts from their files: time, camera, place, title and keywords.

    With --sort taken, images without a known time come last, in either direction.
    """
    if csv_file is not None and json:
        raise CommandError("invalid_request", "Give --csv or --json, not both.", USAGE)
    photo = read_photo_filter(taken_after=taken_after, taken_before=taken_before, camera=camera, near=near)
    wanted = read_filters(filters)
    from app.concepts import split_concepts
    from index import Order

    concepts = split_concepts(",".join(concept or ()))
    chosen = Order(sort, ascending=order == "asc")
    with open_library(read_settings(library=library)) as opened:
        if csv_file is not None:
            _export(csv_file, _all(opened, cursor, limit, wanted, concepts, photo, chosen))
            return
        page = opened.list_images(cursor, limit or PAGE, wanted, concepts, photo, chosen)
    if json:
        from app.http import responses

        items = [responses.image(record).model_dump(mode="json") for record in page.items]
        print_json({"items": items, "next_cursor": page.next_cursor, "total": page.total})
        return
    rows = [
        [record.id, record.filename or "", _time(record), record.facts.camera or "", record.facts.title or ""]
        for record in page.items
    ]
    print_rows(("id", "name", "taken", "camera", "title"), rows)
    if page.next_cursor:
        say(f"{len(page.items):,} of {page.total:,}. The next ones: --cursor {page.next_cursor}")


def _all(
    library: Library,
    cursor: str | None,
    limit: int | None,
    filters: dict[str, str],
    concepts: tuple[str, ...],
    photo: PhotoFilter,
    order: Order,
) -> Iterator[ImageRecord]:
    """Every image that matches, up to `limit`."""
    left = limit
    while left is None or left > 0:
        page = library.list_images(
            cursor, _BATCH if left is None else min(_BATCH, left), filters, concepts, photo, order
        )
        yield from page.items
        left = None if left is None else left - len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _export(path: Path, records: Iterator[ImageRecord]) -> None:
    written = 0
    to_screen = str(path) == "-"
    with nullcontext(sys.stdout) if to_screen else path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n" if to_screen else "\r\n")
        table.writerow(_COLUMNS)
        for record in records:
            table.writerow(_row(record))
            written += 1
    if not to_screen:
        write(f"Wrote {count(written, 'image')}.\n")


def _row(record: ImageRecord) -> list[str]:
    facts = record.facts
    latitude, longitude = ("", "") if facts.place is None else map(str, facts.place)
    metadata = json_module.dumps(record.metadata, ensure_ascii=False) if record.metadata else ""
    return [
        record.id, text_cell(record.filename or ""), _time(record),
        text_cell(facts.camera or ""), text_cell(facts.lens or ""), latitude, longitude,
        text_cell(facts.title or ""), text_cell("; ".join(facts.keywords)),
        str(record.width), str(record.height), str(record.size), record.media_type, record.created_at.isoformat(),
        record.sha256, metadata,
    ]  # fmt: skip


def _time(record: ImageRecord) -> str:
    return "" if record.facts.taken is None else record.facts.taken.isoformat()
