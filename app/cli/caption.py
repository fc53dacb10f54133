"""`visem caption`: sentences for photographs, without a library."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.errors import FAILED, INTERRUPTED
from app.cli.files import FileRejected, find_pictures, read_file
from app.cli.json_stream import JsonStream
from app.cli.options import BundleOption, JsonOption, read_settings
from app.cli.output import say, shown, write
from app.cli.progress import Reporter, progress

if TYPE_CHECKING:
    from app.settings import Settings
    from model.captioner import Caption, Captioner

SIDECAR = ".alt.txt"
"""Added to a picture's name for the file with its alternative text."""
BATCH = 16
_COLUMNS = ("path", "caption", "score", "similarity", "fluency", "confidence")


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(caption)


def caption(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Picture files, and folders of them.")
    ],
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=50, help="Captions of each picture.")] = 5,
    strategy: Annotated[Literal["beam", "sample"], typer.Option(help="Beam search, or sampling.")] = "beam",
    seed: Annotated[int, typer.Option(min=0, help="Makes sampling repeatable.")] = 0,
    structure: Annotated[
        str | None,
        typer.Option(metavar="SENTENCE", help="An example whose parts of speech captions have.", show_default=False),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", dir_okay=False, help="Write a table: a row for each caption."),
    ] = None,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help=f"Write each picture's first caption beside it, as NAME{SIDECAR}.")
    ] = False,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Describe photographs and whole folders: to the terminal, as JSON or CSV, or as files of alternative text.

    Nothing is stored in a library. The exit status is 1 if a file was rejected.
    """
    settings = read_settings(bundle=bundle)
    from model.captioner import Captioner

    captioner = Captioner.load(settings.bundle, device=settings.device)
    if structure is not None:
        captioner.structures.read(structure)  # a structure that cannot be is told before any work
    rejected = 0
    with ExitStack() as stack:
        reporter = stack.enter_context(progress("Captioning", "images"))
        results = JsonStream(ctx, "results") if json else None
        table = None
        if csv_file is not None:
            table = csv.writer(stack.enter_context(csv_file.open("w", encoding="utf-8", newline="")))
            table.writerow(_COLUMNS)
        total = sum(1 for _ in find_pictures(paths))
        done = 0
        try:
            for chunk in _chunks(find_pictures(paths), BATCH):
                for path, outcome in _describe(
                    captioner, chunk, settings, n=n, strategy=strategy, seed=seed, structure=structure
                ):
                    done += 1
                    if isinstance(outcome, Exception):
                        rejected += 1
                        reporter.note(f"Rejected {shown(path)}: {outcome}")
                    else:
                        _deliver(path, outcome, table, sidecar)
                    if results is not None:
                        results.add(_document(path, outcome))
                    elif table is None and not sidecar and not isinstance(outcome, Exception):
                        _print(path, outcome, reporter)
                reporter.update(done, max(total, done))
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            if results is not None:
                results.end(captioned=done - rejected, rejected=rejected)
    if rejected:
        raise typer.Exit(FAILED)


def _describe(
    captioner: Captioner, paths: Sequence[Path], settings: Settings, **options: Any
) -> Iterator[tuple[Path, list[Caption] | Exception]]:
    """Captions of a batch of files, in order, or why there are none."""
    from app.pictures import load_picture
    from model.errors import ImageError
    from model.images import ImageLimits

    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    outcomes: dict[Path, list[Caption] | Exception] = {}
    pictures = {}
    for path in paths:
        try:
            pictures[path] = load_picture(read_file(path, settings.max_image_bytes), limits).image
        except (ImageError, FileRejected) as error:
            outcomes[path] = error
    if pictures:
        vectors = captioner.space.embed_images(list(pictures.values()))
        outcomes |= dict(zip(pictures, captioner.caption(vectors, **options), strict=True))
    for path in paths:
        yield path, outcomes[path]


def _deliver(path: Path, captions: Sequence[Caption], table: Any, sidecar: bool) -> None:
    """Write what goes into files."""
    if table is not None:
        for one in captions:
            figures = (one.score, one.similarity, one.fluency, one.confidence)
            table.writerow([path, one.text, *(f"{figure:.4f}" for figure in figures)])
    if sidecar and captions:
        path.with_name(path.name + SIDECAR).write_text(captions[0].text + "\n", encoding="utf-8")


def _document(path: Path, outcome: list[Caption] | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        code = getattr(outcome, "code", "image_unreadable")
        return {"path": shown(path), "captions": [], "code": code, "reason": str(outcome)}
    return {"path": shown(path), "captions": [asdict(one) for one in outcome], "code": None, "reason": None}


def _print(path: Path, captions: Sequence[Caption], reporter: Reporter) -> None:
    lines = [f"{shown(path)}", *(f"  {one.confidence:4.0%}  {one.text}" for one in captions)]
    write("\n".join(lines) + "\n")


def _chunks(paths: Iterator[Path], size: int) -> Iterator[list[Path]]:
    while chunk := list(islice(paths, size)):
        yield chunk
