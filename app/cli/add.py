"""`visem add`: photographs into the library."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError, describe, error_document
from app.cli.files import FileRejected, read_file
from app.cli.in_place import InPlaceAddition, register_folders
from app.cli.interruption import Interruption
from app.cli.json_stream import JsonStream
from app.cli.options import (
    BundleOption,
    JsonOption,
    LibraryOption,
    MetadataOption,
    read_metadata,
    read_settings,
)
from app.cli.output import count, real_path, say, shown, write
from app.cli.progress import Reporter, progress
from app.cli.sessions import open_service
from app.ingest.folders import Folders, describe_skipped

if TYPE_CHECKING:
    from app.ingest.pipeline import IncomingFile, IngestResult
    from app.service import Service


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(add)


def add(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", exists=True, help="Image files and folders.")],
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
    if prune and not in_place:
        raise CommandError("invalid_request", "--prune is for --in-place.", USAGE)
    with progress("Adding", "images") as reporter, open_service(settings, create=True) as service:
        addition: Addition | InPlaceAddition
        if in_place:
            sources = register_folders(service, paths)
            addition = InPlaceAddition(service, sources, reporter, JsonStream(ctx, "results") if json else None)
            addition.run(checked, prune=prune)
        else:
            addition = Addition(service, paths, reporter, JsonStream(ctx, "results") if json else None)
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


class Addition:
    """One run: feeds the files to the service, counts what becomes of them, and reports it as it goes."""

    def __init__(self, service: Service, paths: Sequence[Path], reporter: Reporter, results: JsonStream | None) -> None:
        self.counts: Counter[str] = Counter()
        self.interrupted = False
        self._service = service
        self._paths = paths
        self._reporter = reporter
        self._results = results
        self._folders = Folders(
            paths,
            without=service.settings.library,
            on_error=self._reject_folder,
            on_left_out=self._leave_out,
        )
        self._left_out: list[dict[str, str]] = []
        self._waiting: deque[Path] = deque()  # read, but not stored yet, in order: a few at any time

    @property
    def failed(self) -> bool:
        """Whether a file was rejected, or there were files or folders, but no picture among them."""
        found_no_picture = not self.counts.total() and bool(self._folders.skipped or self._left_out)
        return bool(self.counts["rejected"]) or found_no_picture

    def run(self, metadata: dict[str, Any]) -> None:
        """Add everything. The first Ctrl-C or SIGTERM ends it when what was read is stored; the library stays whole."""
        started = time.monotonic()
        failure: Exception | None = None
        try:
            with (
                Interruption() as interruption,
                closing(self._service.ingest(self._files(interruption), metadata)) as results,
            ):
                total = 0
                for _ in Folders(self._paths, without=self._service.settings.library):
                    if interruption.requested:
                        break
                    total += 1
                self._reporter.update(0, total)
                for result in results:
                    self._record(self._waiting.popleft(), result)
                    done = self.counts.total()
                    self._reporter.update(done, max(total, done))
                self.interrupted = interruption.requested
        except KeyboardInterrupt:
            self.interrupted = True
        except Exception as error:
            failure = error
            raise
        finally:
            self._summarise(time.monotonic() - started, failure)

    def _reject_folder(self, folder: Path, error: OSError) -> None:
        self._reject(folder, "folder_unreadable", f"The folder cannot be read: {error.strerror}.")

    def _leave_out(self, folder: Path, reason: str) -> None:
        self._left_out.append({"path": real_path(folder), "reason": reason})
        self._reporter.note(f"Left out {shown(folder)}: {reason}.")

    def _files(self, interruption: Interruption) -> Iterator[IncomingFile]:
        from app.ingest.pipeline import IncomingFile

        for path in self._folders:
            if interruption.requested:
                return
            try:
                data = read_file(path, self._service.settings.max_image_bytes)
            except FileRejected as error:
                self._reject(path, error.code, str(error))
            else:
                self._waiting.append(path)
                yield IncomingFile(path.name, data)

    def _record(self, path: Path, result: IngestResult) -> None:
        if result.status == "rejected":
            self._reject(path, str(result.code), str(result.reason))
            return
        self.counts[result.status] += 1
        if self._results is not None:
            from app.http import responses

            self._results.add(
                {"path": real_path(path), **responses.image_status(result).model_dump(mode="json")},
            )

    def _reject(self, path: Path, code: str, reason: str) -> None:
        self.counts["rejected"] += 1
        self._reporter.note(f"Rejected {shown(path)}: {reason}")
        if self._results is not None:
            self._results.add(
                {
                    "path": real_path(path),
                    "filename": real_path(path.name),
                    "status": "rejected",
                    "image": None,
                    "code": code,
                    "reason": reason,
                }
            )

    def _summarise(self, seconds: float, failure: Exception | None) -> None:
        created, duplicates, rejected = (self.counts[key] for key in ("created", "duplicate", "rejected"))
        rate = self.counts.total() / seconds if seconds > 0 else 0.0
        if self._results is not None:
            self._results.end(
                created=created,
                duplicates=duplicates,
                rejected=rejected,
                interrupted=self.interrupted,
                seconds=round(seconds, 3),
                skipped=dict(self._folders.skipped.most_common()),
                left_out=self._left_out,
                **({} if failure is None else error_document(*describe(failure))),
            )
            return
        text = f"Added {count(created, 'image')}"
        if duplicates:
            text += f"; {duplicates:,} {'was' if duplicates == 1 else 'were'} already there"
        if rejected:
            text += f"; {rejected:,} {'was' if rejected == 1 else 'were'} rejected"
        write(f"{text} ({rate:.1f} images/s).\n")
        if self._folders.skipped:
            say(f"Skipped, not images: {describe_skipped(self._folders.skipped)}.")
