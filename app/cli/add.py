"""`visem add`: photographs into the library."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.addition_report import AdditionReport
from app.cli.bulk import BulkAddition, BulkOptions, require_ray
from app.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError
from app.cli.files import FileRejected, read_file
from app.cli.in_place import InPlaceAddition, register_folders
from app.cli.interruption import Ending, Interruption, batch
from app.cli.json_stream import JsonStream
from app.cli.options import (
    BundleOption,
    JsonOption,
    LibraryOption,
    MetadataOption,
    read_metadata,
    read_settings,
)
from app.cli.output import say, shown
from app.cli.progress import Reporter, progress
from app.cli.sessions import below_searches, open_service
from app.ingest.folders import Folders

if TYPE_CHECKING:
    from app.ingest.pipeline import IncomingFile, IngestResult
    from app.service import Service


_S3 = "s3://"


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(add)


def _check_paths(paths: list[str]) -> list[str]:
    for path in paths:
        if not path.startswith(_S3) and not os.path.exists(path):  # noqa: PTH110  # any bytes may be in it
            raise typer.BadParameter(f"Path '{shown(path)}' does not exist.")
    return paths


def add(
    ctx: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            callback=_check_paths,
            help="Image files and folders. With --ray also s3://BUCKET/PREFIX, Parquet and WebDataset tar files.",
        ),
    ],
    library: LibraryOption = None,
    bundle: BundleOption = None,
    metadata: MetadataOption = None,
    captions: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=20,
            metavar="N",
            help="Captions for each new image, stored as sentences.  [VISEM_CAPTION_IMAGES; 0]",
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Leave the images in these folders where they are, and keep track of changes there.",
        ),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="With --in-place: delete images at once if their files are missing from the folders."
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Embed on the Ray cluster with this address, such as HOST:6379.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --ray: workers at most; one for each core when unset.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="With --ray: the column of Parquet files with the images, or with their paths."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add photographs and whole folders to the library.

    Images that are already in the library are not stored again, so you can repeat an interrupted command to continue.
    In folders, hidden files and files that are not images are skipped. Trash, previews and Visem libraries are left
    out.

    The exit status is 0 if all is well; 1 if a file was rejected, or if there were files but no images among them;
    2 for wrong usage; 130 after Ctrl-C or SIGTERM.
    """
    checked = read_metadata(metadata)
    settings = read_settings(library=library, bundle=bundle, caption_images=captions)
    _check_combination(paths, ray=ray, workers=workers, column=column, in_place=in_place, prune=prune)

    def stream() -> JsonStream | None:
        return JsonStream(ctx, "results") if json else None

    below_searches()
    with progress("Adding", "images") as reporter, open_service(settings, create=True) as service:
        addition: Addition | InPlaceAddition | BulkAddition
        if in_place:
            sources = register_folders(service, [Path(path) for path in paths])
            addition = InPlaceAddition(service, sources, reporter, stream())
            addition.run(checked, prune=prune)
        elif ray is not None:
            addition = BulkAddition(service, paths, BulkOptions(ray, workers, column), reporter, stream)
            addition.run(checked)
        else:
            addition = Addition(service, [Path(path) for path in paths], reporter, stream())
            addition.run(checked)
        if not addition.interrupted:
            service.wait_for_captions(
                lambda pending: reporter.note(f"Captions of {pending:,} images are still to be written.")
            )
    if addition.interrupted:
        say("Interrupted. What was added is stored; repeat the command to go on.")
        raise typer.Exit(INTERRUPTED)
    if addition.failed:
        raise typer.Exit(FAILED)


def _check_combination(
    paths: Sequence[str], *, ray: str | None, workers: int | None, column: str | None, in_place: bool, prune: bool
) -> None:
    """Refuse options that do not go together, before anything is opened; CommandError."""
    reason: str | None = None
    if prune and not in_place:
        reason = "--prune is for --in-place."
    elif ray is None and (workers is not None or column is not None):
        reason = f"{'--workers' if workers is not None else '--column'} is for --ray."
    elif ray is None and any(path.startswith(_S3) for path in paths):
        reason = "s3:// is for --ray."
    elif ray is not None and in_place:
        reason = "--ray makes copies: it cannot be used with --in-place."
    if reason is not None:
        raise CommandError("invalid_request", reason, USAGE)
    if ray is not None:
        require_ray()


class Addition:
    """One run: feeds the files to the service, counts what becomes of them, and reports it as it goes."""

    def __init__(self, service: Service, paths: Sequence[Path], reporter: Reporter, results: JsonStream | None) -> None:
        self.interrupted = False
        self._service = service
        self._paths = paths
        self._reporter = reporter
        self._report = AdditionReport(reporter, results)
        self._folders = Folders(
            paths,
            without=service.settings.library,
            on_error=self._reject_folder,
            on_left_out=self._report.leave_out,
        )
        self._waiting: deque[Path] = deque()  # read, but not stored yet, in order: a few at any time

    @property
    def failed(self) -> bool:
        """Whether a file was rejected, or there were files or folders, but no picture among them."""
        return self._report.failed(self._folders.skipped)

    def run(self, metadata: dict[str, Any]) -> None:
        """Add everything. The first Ctrl-C or SIGTERM ends it after the files at hand; the library stays whole."""
        with (
            batch(self._end) as interruption,
            closing(self._ingest(interruption, metadata)) as results,
        ):
            total = 0
            for _ in Folders(self._paths, without=self._service.settings.library):
                if interruption.requested:
                    break
                total += 1
            self._reporter.update(0, total)
            for result in results:
                self._report.record(self._waiting.popleft(), result)
                done = self._report.counts.total()
                self._reporter.update(done, max(total, done))

    def _ingest(self, interruption: Interruption, metadata: dict[str, Any]) -> Generator[IngestResult, None, None]:
        return self._service.ingest(self._files(interruption), metadata, stop=lambda: interruption.requested)

    def _end(self, ending: Ending) -> None:
        self.interrupted = ending.interrupted
        self._report.summarise(ending, self._folders.skipped)

    def _reject_folder(self, folder: Path, error: OSError) -> None:
        self._report.reject(folder, "folder_unreadable", f"The folder cannot be read: {error.strerror}.")

    def _files(self, interruption: Interruption) -> Iterator[IncomingFile]:
        from app.ingest.pipeline import IncomingFile

        for path in self._folders:
            if interruption.requested:
                return
            try:
                data = read_file(path, self._service.settings.max_image_bytes)
            except FileRejected as error:
                self._report.reject(path, error.code, str(error))
            else:
                self._waiting.append(path)
                yield IncomingFile(path.name, data)
