"""`visem caption`: from pictures to words."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.errors import FAILED, INTERRUPTED, USAGE, CommandError
from app.cli.files import FileRejected, find_pictures, read_file
from app.cli.json_stream import JsonStream
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import print_rows, say, shown, write
from app.cli.progress import progress
from app.cli.sessions import open_service

if TYPE_CHECKING:
    from app.results import CaptionOptions, GeneratedCaption, RetrievedCaption
    from app.settings import Settings

Mode = Literal["generate", "retrieve"]
Captions = Sequence["GeneratedCaption | RetrievedCaption"]
Outcome = "Captions | Exception"
Describer = Callable[[Sequence[Path]], "list[Captions | Exception]"]

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
    n: Annotated[int, typer.Option("-n", min=1, max=50, metavar="N", help="How many captions of each.")] = 5,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="generate: new sentences, by the bundle; retrieve: the nearest of the library.  "
            "[generate, where the bundle has a captioner]",
        ),
    ] = None,
    strategy: Annotated[
        Literal["beam", "sample"], typer.Option(help="How to generate: beam search, or sampling.")
    ] = "beam",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Makes sampling repeatable.")] = 0,
    structure: Annotated[
        str | None,
        typer.Option(
            metavar="SENTENCE", help="An example whose parts of speech generated captions have.", show_default=False
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", dir_okay=False, help="Write a table with a row for each caption."),
    ] = None,
    sidecar: Annotated[
        bool,
        typer.Option("--sidecar", help=f"Write the first caption beside each picture, as NAME{SIDECAR}."),
    ] = False,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Describe pictures and whole folders: to the terminal, as JSON or CSV, or as files of alternative text.

    The pictures are not stored. The exit status is 1 if one cannot be read.
    """
    settings = read_settings(library=library, bundle=bundle)
    from app.results import CaptionOptions
    from model.bundle import Bundle, shipped_bundle

    config = Bundle.load_config(settings.bundle or shipped_bundle())
    chosen = mode or ("retrieve" if config.captioner is None else "generate")
    options = CaptionOptions(n=n, mode=chosen, strategy=strategy, structure=structure, seed=seed)
    if chosen == "retrieve" and structure is not None:
        raise CommandError("invalid_request", "--structure is for --mode generate.", USAGE)
    with ExitStack() as stack:
        describe = _generator(settings, options) if chosen == "generate" else _retriever(settings, options, stack)
        table = None
        if csv_file is not None:
            table = csv.writer(stack.enter_context(csv_file.open("w", encoding="utf-8", newline="")))
            table.writerow(_COLUMNS)
        run = _Run(ctx, describe, chosen, table, sidecar, json)
        run.all(paths)
    if run.rejected:
        raise typer.Exit(FAILED)


class _Run:
    """Takes pictures batch by batch, and delivers what is said about them wherever it is wanted."""

    def __init__(
        self, ctx: typer.Context, describe: Describer, mode: Mode, table: Any, sidecar: bool, json: bool
    ) -> None:
        self.done = self.rejected = 0
        self._describe = describe
        self._mode = mode
        self._table = table
        self._sidecar = sidecar
        self._results = JsonStream(ctx, "results") if json else None

    def all(self, paths: Sequence[Path]) -> None:
        """Describe everything. Ctrl-C stops it; what was delivered stays."""
        total = sum(1 for _ in find_pictures(paths))
        pictures = find_pictures(paths)
        try:
            with progress("Captioning", "images") as reporter:
                while chunk := list(islice(pictures, BATCH)):
                    for path, outcome in zip(chunk, self._describe(chunk), strict=True):
                        self._deliver(path, outcome, alone=total == 1)
                    reporter.update(self.done, max(total, self.done))
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            if self._results is not None:
                self._results.end(captioned=self.done - self.rejected, rejected=self.rejected)

    def _deliver(self, path: Path, outcome: Captions | Exception, *, alone: bool) -> None:
        self.done += 1
        document: dict[str, Any] = {"path": shown(path), "mode": self._mode, "captions": []}
        if isinstance(outcome, Exception):
            self.rejected += 1
            say(f"visem: {shown(path)}: {outcome}")
            document |= {"mode": None, "code": getattr(outcome, "code", "image_unreadable"), "reason": str(outcome)}
        else:
            from app import convert

            answers = [convert.caption(one) for one in outcome]
            document |= {"captions": [one.model_dump(mode="json") for one in answers], "code": None, "reason": None}
            if self._table is not None:
                for one in answers:
                    figures = (one.score, one.similarity, one.fluency, one.confidence)
                    texts = ("" if figure is None else f"{figure:.4f}" for figure in figures)
                    self._table.writerow([shown(path), one.text, *texts])
            if self._sidecar and answers:
                path.with_name(path.name + SIDECAR).write_text(answers[0].text + "\n", encoding="utf-8")
            if self._results is None and self._table is None and not self._sidecar:
                if not alone:
                    write(f"{shown(path)}\n")
                print_rows(("similarity", "caption"), [[f"{one.similarity:.3f}", one.text] for one in answers])
        if self._results is not None:
            self._results.add(document)


def _generator(settings: Settings, options: CaptionOptions) -> Describer:
    """Describes by the bundle alone: no library is opened. CaptionerMissingError, StructureError, EmptyTextError."""
    from app.captioning import generated
    from app.pictures import load_picture
    from model.captioner import Captioner
    from model.errors import ImageError
    from model.images import ImageLimits

    captioner = Captioner.load(settings.bundle, device=settings.device)
    if options.structure is not None:
        captioner.structures.read(options.structure)  # one that cannot be followed is told before any work
    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)

    def describe(paths: Sequence[Path]) -> list[Captions | Exception]:
        loaded: list[Any] = []
        for path in paths:
            try:
                loaded.append(load_picture(read_file(path, settings.max_image_bytes), limits).image)
            except (ImageError, FileRejected) as error:
                loaded.append(error)
        pictures = [one for one in loaded if not isinstance(one, Exception)]
        written: Iterator[list[GeneratedCaption]] = iter(())
        if pictures:
            written = iter(generated(captioner, captioner.space.embed_images(pictures), options))
        return [one if isinstance(one, Exception) else next(written) for one in loaded]

    return describe


def _retriever(settings: Settings, options: CaptionOptions, stack: ExitStack) -> Describer:
    """Describes by the nearest sentences of the library."""
    from model.errors import ImageError

    service = stack.enter_context(open_service(settings))
    if service.library.count("sentences") == 0:
        say("The library has no sentences to describe pictures with. Add some with `visem sentences add`.")

    def describe(paths: Sequence[Path]) -> list[Captions | Exception]:
        outcomes: list[Captions | Exception] = []
        for path in paths:
            try:
                image = read_file(path, settings.max_image_bytes)
                outcomes.append(service.captions(options, image=image).captions)
            except (FileRejected, ImageError) as error:
                outcomes.append(error)
        return outcomes

    return describe
