"""`visem caption`: from pictures to words."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError, error_document
from app.cli.files import FileRejected, read_file
from app.cli.interruption import Ending, batch
from app.cli.json_stream import JsonStream
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_rows, real_path, say, shown, write
from app.cli.progress import progress
from app.cli.sessions import open_service
from app.cli.tables import path_cell, text_cell
from app.ingest.folders import Folders, describe_skipped
from app.problems import describe

if TYPE_CHECKING:
    from app.results import CaptionOptions
    from app.settings import Settings
    from index import Hit
    from model.captioner import Caption

Mode = Literal["generate", "retrieve"]
Captions = Sequence["Caption | Hit"]
Describer = Callable[[Sequence[Path]], "list[Captions | Exception]"]

SIDECAR = ".alt.txt"
"""Added to a picture's name for the file with its alternative text."""
BATCH = 16
_COLUMNS = ("path", "caption", "score", "similarity", "fluency", "confidence", "sentence")


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(caption)


def caption(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", exists=True, help="Image files and folders.")],
    n: Annotated[int, typer.Option("-n", min=1, max=50, metavar="N", help="How many captions for each image.")] = 5,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="generate: new sentences, by the bundle; retrieve: the nearest sentences of the library.  "
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
            metavar="SENTENCE",
            help="An example sentence: generated captions get its parts of speech.",
            show_default=False,
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
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="With --sidecar: replace existing texts, which are kept otherwise."),
    ] = False,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Describe images and whole folders: on the terminal, as JSON or CSV, or in files of alternative text.

    The images are not stored. The exit status is 1 if one cannot be read, or if there were files but no images.
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
        describer = (
            _generator(settings, options, stack) if chosen == "generate" else _retriever(settings, options, stack)
        )
        table = None
        if csv_file is not None:
            table = stack.enter_context(csv_file.open("w", encoding="utf-8", newline=""))
        run = _Run(ctx, paths, describer, chosen, table, sidecar, overwrite, json)
        run.all()
    if run.rejected or run.found_no_picture:
        raise typer.Exit(FAILED)


class _Run:
    """Takes pictures batch by batch, and delivers what is said about them wherever it is wanted."""

    def __init__(
        self,
        ctx: typer.Context,
        paths: Sequence[Path],
        describer: Describer,
        mode: Mode,
        table: IO[str] | None,
        sidecar: bool,
        overwrite: bool,
        json: bool,
    ) -> None:
        self.captioned = self.rejected = self.kept = 0
        self.interrupted = False
        self._paths = paths
        self._folders = Folders(paths, on_error=self._reject_folder, on_left_out=self._leave_out)
        self._left_out: list[dict[str, str]] = []
        self._describer = describer
        self._mode = mode
        self._table_file = table
        self._table = None if table is None else csv.writer(table)
        if self._table is not None:
            self._table.writerow(_COLUMNS)
        self._sidecar = sidecar
        self._overwrite = overwrite
        self._results = JsonStream(ctx, "results") if json else None

    @property
    def found_no_picture(self) -> bool:
        """Whether there were files or folders, but no picture among them."""
        return not self.captioned and bool(self._folders.skipped or self._left_out)

    def all(self) -> None:
        """Describe everything. The first Ctrl-C or SIGTERM ends it after the batch at work; what was done stays."""
        with batch(self._end) as interruption, progress("Captioning", "images") as reporter:
            total = 0
            for _ in Folders(self._paths):
                if interruption.requested:
                    break
                total += 1
            pictures = iter(self._folders)
            while not interruption.requested and (chunk := list(islice(pictures, BATCH))):
                for path, outcome in zip(chunk, self._describer(chunk), strict=True):
                    self._deliver(path, outcome, alone=total == 1)
                done = self.captioned + self.rejected
                reporter.update(done, max(total, done))
                if self._table_file is not None:
                    self._table_file.flush()  # whatever ends this, the table has what was said to be done
        if self.interrupted:
            say("Interrupted. With --sidecar, repeating the command keeps existing texts.")
            raise typer.Exit(INTERRUPTED)

    def _end(self, ending: Ending) -> None:
        self.interrupted = ending.interrupted
        if self.kept:
            say(f"Kept {count(self.kept, 'text')} that had been there; --overwrite replaces them.")
        if self._folders.skipped:
            say(f"Skipped, not images: {describe_skipped(self._folders.skipped)}.")
        if self._results is not None:
            self._results.end(
                captioned=self.captioned,
                rejected=self.rejected,
                kept=self.kept,
                skipped=dict(self._folders.skipped.most_common()),
                left_out=self._left_out,
                interrupted=self.interrupted,
                **({} if ending.failure is None else error_document(*describe(ending.failure))),
            )

    def _reject_folder(self, folder: Path, error: OSError) -> None:
        self._reject(folder, FileRejected("folder_unreadable", f"The folder cannot be read: {error.strerror}."), [])

    def _leave_out(self, folder: Path, reason: str) -> None:
        self._left_out.append({"path": real_path(folder), "reason": reason})
        say(f"Left out {shown(folder)}: {reason}.")

    def _deliver(self, path: Path, outcome: Captions | Exception, *, alone: bool) -> None:
        if isinstance(outcome, Exception):
            self._reject(path, outcome, [])
            return
        from app.http.caption_document import caption

        answers = [caption(one) for one in outcome]
        if self._sidecar and answers:
            try:
                self._write_sidecar(path, answers[0].sentence)
            except OSError as error:
                reason = f"{path.name[:40]}…{SIDECAR} cannot be written: {error.strerror}."
                self._reject(path, FileRejected("sidecar_unwritable", reason), answers)
                return
        self.captioned += 1
        if self._table is not None:
            for one in answers:
                figures = (one.score, one.similarity, one.fluency, one.confidence)
                texts = ("" if figure is None else f"{figure:.4f}" for figure in figures)
                self._table.writerow([path_cell(path), text_cell(one.text), *texts, text_cell(one.sentence)])
        if self._results is None and self._table is None and not self._sidecar:
            if not alone:
                write(f"{shown(path)}\n")
            print_rows(("similarity", "caption"), [[f"{one.similarity:.3f}", one.sentence] for one in answers])
        self._report(path, answers, None)

    def _write_sidecar(self, path: Path, text: str) -> None:
        sidecar = path.with_name(path.name + SIDECAR)
        try:
            with sidecar.open("w" if self._overwrite else "x", encoding="utf-8") as file:
                file.write(text + "\n")
        except FileExistsError:
            self.kept += 1
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):  # half a text would be kept the next time
                sidecar.unlink(missing_ok=True)
            raise

    def _reject(self, path: Path, error: Exception, answers: Sequence[Any]) -> None:
        self.rejected += 1
        say(f"visem: {shown(path)}: {error}")
        self._report(path, answers, error)

    def _report(self, path: Path, answers: Sequence[Any], error: Exception | None) -> None:
        if self._results is not None:
            self._results.add(
                {
                    "path": real_path(path),
                    "mode": self._mode if error is None else None,
                    "captions": [one.model_dump(mode="json") for one in answers],
                    "code": None if error is None else getattr(error, "code", "image_unreadable"),
                    "reason": None if error is None else str(error),
                }
            )


def _generator(settings: Settings, options: CaptionOptions, stack: ExitStack) -> Describer:
    """Describes by the bundle alone: no library is opened. CaptionerMissingError, StructureError, EmptyTextError."""
    from app.captions.writing import write_captions
    from app.embedding.pictures import load_picture
    from model.captioner import Captioner
    from model.errors import ImageError
    from model.images.limits import ImageLimits
    from model.images.processes import Decoders

    captioner = Captioner.load(settings.bundle, device=settings.device)
    if options.structure is not None:
        captioner.structures.read(options.structure)  # one that cannot be followed is reported before any work
    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    decoders = Decoders()
    stack.callback(decoders.close)

    def describe(paths: Sequence[Path]) -> list[Captions | Exception]:
        loaded: list[Any] = []
        for path in paths:
            try:
                loaded.append(load_picture(read_file(path, settings.max_image_bytes), limits, decoders.decode).image)
            except (ImageError, FileRejected) as error:
                loaded.append(error)
        pictures = [one for one in loaded if not isinstance(one, Exception)]
        written: Iterator[list[Caption]] = iter(())
        if pictures:
            written = iter(write_captions(captioner, captioner.space.embed_images(pictures), options))
        return [one if isinstance(one, Exception) else next(written) for one in loaded]

    return describe


def _retriever(settings: Settings, options: CaptionOptions, stack: ExitStack) -> Describer:
    """Describes by the nearest sentences of the library."""
    from model.errors import ImageError

    service = stack.enter_context(open_service(settings))
    if service.stats().sentences == 0:
        say("The library has no sentences to describe images with. Add some with `visem sentences add`.")

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
