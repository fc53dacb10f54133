"""One pass over a source: what is new, changed, moved, back or gone since the last one.

A file whose size, time and inode are as remembered is not opened. Everything else is read: where the library has an
image with the same content, the file is one more place of it, and the image keeps its id, metadata and captions. That
is tried for changed files before any of them is embedded, so that files which were renamed in a row keep their images.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Literal

from app.embedding.batcher import batched
from app.ingest.folders import begins_as_picture
from app.ingest.pipeline import IncomingFile, IngestResult
from app.ingest.sources.walking import TOP, Walk, beneath
from app.settings import Settings
from index import FileInPlace, ImageRecord, KnownFile, Library, RefusedFile, Signature, Source, open_below, signature_of

UNREADABLE = "file_unreadable"
"""The code of files that could not be read, perhaps since the disk was asleep: the next pass tries them again."""
FOLDER_UNREADABLE = "folder_unreadable"

_RECOGNISED_AT_ONCE = 16
_REFUSED_AT_ONCE = 64

Ingest = Callable[[Iterable[IncomingFile]], Iterator[IngestResult]]
Became = Literal["created", "changed", "recognised", "refused"]


@dataclass(frozen=True)
class FileOutcome:
    """What a pass made of one file that it read. `recognised`: the library had an image with this content."""

    path: str
    status: Became
    record: ImageRecord | None = None
    code: str | None = None
    reason: str | None = None


@dataclass
class PassProgress:
    """How far a pass is, and what it found; it is read while it changes.

    `unchanged`, `skipped`, `created`, `changed`, `recognised`, `refused`, `ignored` and `deferred` count the files
    that are there, each once; `returned` are those among `unchanged` that had been missing. `ignored` are files whose
    image somebody deleted, `deferred` those that are still being written. `missing` and `pruned` count images. `away`
    says why nothing could be done. `kept` says, by folder, why files in it that are not to be seen count as there.
    """

    started: float = field(default_factory=time.monotonic)
    phase: Literal["looking", "adding", "done", "stopped"] = "looking"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    seen: int = 0
    unchanged: int = 0
    returned: int = 0
    created: int = 0
    changed: int = 0
    recognised: int = 0
    refused: int = 0
    ignored: int = 0
    skipped: int = 0
    deferred: int = 0
    missing: int = 0
    pruned: int = 0
    links: int = 0
    away: str | None = None
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Files read a second."""
        elapsed = (self.seconds or time.monotonic() - self.started) if self.phase != "looking" else 0.0
        return self.done / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take at this rate; None while nobody knows."""
        return (self.total - self.done) / self.rate if self.phase == "adding" and self.done else None


@dataclass(frozen=True)
class PassOptions:
    """How to go over a source. `retry`: try refused files again though they are unchanged; `prune`: delete what is
    missing at once; `settle_seconds`: leave files alone that were changed so recently."""

    retry: bool = False
    prune: bool = False
    settle_seconds: float = 0.0


class SourcePass:
    """One pass. `run` it once; `progress` can be looked at meanwhile."""

    def __init__(
        self,
        library: Library,
        ingest: Ingest,
        settings: Settings,
        source: Source,
        options: PassOptions = PassOptions(),
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[FileOutcome], None] = lambda outcome: None,
    ) -> None:
        """`stop` is called often: true ends the pass early. `tell` is called for every file that was read."""
        self.progress = PassProgress()
        self._sources = library.sources
        self._ingest = ingest
        self._settings = settings
        self._source = source
        self._options = options
        self._stop = stop
        self.tell = tell
        self._known: dict[str, KnownFile] = {}
        self._refused: list[RefusedFile] = []
        self._finished = False

    def run(self) -> PassProgress:
        """Go over the source. What is done is stored as it is done; ending early loses nothing.

        LibraryError, Overloaded.
        """
        progress = self.progress
        try:
            self._run()
        finally:
            progress.seconds = time.monotonic() - progress.started
            progress.phase = "done" if self._finished or progress.away else "stopped"
        return progress

    def _run(self) -> None:
        progress = self.progress
        self._known = self._sources.known(self._source.id)
        walk = Walk(self._source.root, self._settings.library, self._stop)
        there: set[str] = set()
        returned: list[tuple[str, Signature]] = []
        fresh: list[tuple[str, Signature]] = []
        altered: list[tuple[str, Signature]] = []
        try:
            for path, signature, by_ending in walk.files():
                there.add(path)
                progress.seen += 1
                self._sort(path, signature, by_ending, returned, fresh, altered)
        except OSError as error:
            self._away(f"The folder cannot be opened: {error.strerror}.")
            return
        progress.links = walk.links
        if self._stop():
            return
        if (reason := self._reason_away(walk, there)) is not None:
            self._away(reason)
            return
        if returned:
            self._sources.seen(self._source.id, returned)
            progress.returned = len(returned)
        self._note_unreadable(walk, there)
        progress.phase, progress.total, progress.started = "adding", len(fresh) + len(altered), time.monotonic()
        if any(known.state == "deleted" for known in self._known.values()):
            fresh = self._recognise(fresh)
        self._add(fresh)
        self._add(self._recognise(altered))
        self._flush()
        if not self._stop():
            self._settle(walk, there)

    def _sort(
        self,
        path: str,
        signature: Signature,
        by_ending: bool,
        returned: list[tuple[str, Signature]],
        fresh: list[tuple[str, Signature]],
        altered: list[tuple[str, Signature]],
    ) -> None:
        """Decide, from what a file looks like, whether it has to be read."""
        progress, known = self.progress, self._known.get(path)
        if known is not None and known.signature == signature and not self._is_to_be_tried_again(known):
            if known.state == "missing":
                returned.append((path, signature))
            if known.state == "deleted":
                progress.ignored += 1
            elif known.state == "skipped":
                progress.skipped += 1
            else:
                progress.unchanged += 1
        elif self._options.settle_seconds and _age(signature) < self._options.settle_seconds:
            progress.deferred += 1
        elif not by_ending and not self._begins_as_picture(path, signature):
            progress.skipped += 1
        else:
            (fresh if known is None or known.state == "deleted" else altered).append((path, signature))

    def _is_to_be_tried_again(self, known: KnownFile) -> bool:
        return known.state == "refused" and (self._options.retry or known.code == UNREADABLE)

    def _begins_as_picture(self, path: str, signature: Signature) -> bool:
        """Look into a file without an ending; that it is no picture is remembered."""
        try:
            with open(open_below(self._source.root, path), "rb") as file:  # noqa: PTH123 (a descriptor)
                if begins_as_picture(file.read(64)):
                    return True
        except OSError:
            return True  # reading it will say so
        self._refuse(RefusedFile(path, signature, None, None, skipped=True))
        return False

    def _reason_away(self, walk: Walk, there: set[str]) -> str | None:
        """Say why the folder seems not to be there; None if it does."""
        present = sum(known.state == "present" for known in self._known.values())
        if not present:
            return None
        if TOP in self._source.mounts and TOP not in walk.mounts:
            return "Nothing is mounted on the folder any more."
        if not there and not walk.unreadable:
            return f"The folder is empty, where {present:,} photographs were. Is something to be mounted on it?"
        return None

    def _away(self, reason: str) -> None:
        self.progress.away = reason
        self._sources.note(self._source.id, "away", reason)

    def _note_unreadable(self, walk: Walk, there: set[str]) -> None:
        for folder, reason in walk.unreadable.items():
            there.add(folder)
            self.progress.kept[folder] = f"cannot be read: {reason}"
            text = f"The folder cannot be read: {reason}."
            self._refuse(RefusedFile(folder, Signature(0, 0, 0), FOLDER_UNREADABLE, text))
            self.progress.seen += 1
            self.progress.refused += 1
            self.tell(FileOutcome(folder, "refused", None, FOLDER_UNREADABLE, text))

    def _recognise(self, files: Sequence[tuple[str, Signature]]) -> list[tuple[str, Signature]]:
        """Note the files whose content the library has; return the others, which are to be embedded."""
        left: list[tuple[str, Signature]] = []
        for chunk in batched(files, _RECOGNISED_AT_ONCE):
            if self._stop():
                return left
            read: list[tuple[FileInPlace, str]] = []
            for path, signature in chunk:
                try:
                    data, now = self._read(path)
                except (OSError, FileTooLarge):
                    left.append((path, signature))  # which says why
                else:
                    read.append((FileInPlace(self._source.id, path, now), hashlib.sha256(data).hexdigest()))
            for (file, _), answer in zip(read, self._sources.attach(read), strict=True):
                if answer == "unknown":
                    left.append((file.path, file.signature))
                elif answer == "deleted":
                    self.progress.ignored += 1
                    self.progress.done += 1
                else:
                    self._count(FileOutcome(file.path, "recognised", answer))
        return left

    def _add(self, files: Sequence[tuple[str, Signature]]) -> None:
        """Store images of these files."""
        waiting: deque[FileInPlace] = deque()
        with closing(self._ingest(self._incoming(files, waiting))) as results:  # type: ignore[type-var]
            for result in results:
                file = waiting.popleft()
                if result.status == "rejected":
                    self._reject(file.path, file.signature, result.code or "", result.reason or "")
                else:
                    status: Became = "recognised" if result.status == "duplicate" else result.status
                    self._count(FileOutcome(file.path, status, result.record))

    def _incoming(self, files: Sequence[tuple[str, Signature]], waiting: deque[FileInPlace]) -> Iterator[IncomingFile]:
        for path, signature in files:
            if self._stop():
                return
            try:
                data, now = self._read(path)
            except FileNotFoundError:  # gone since; the next pass sees that
                self.progress.deferred += 1
                self.progress.done += 1
            except OSError as error:
                self._reject(path, signature, UNREADABLE, f"The file cannot be read: {error.strerror or error}.")
            except FileTooLarge as error:
                self._reject(path, signature, "image_too_large", str(error))
            else:
                file = FileInPlace(self._source.id, path, now)
                waiting.append(file)
                yield IncomingFile(PurePath(path).name, data, file)

    def _read(self, path: str) -> tuple[bytes, Signature]:
        """Return the bytes of a file, and what it looked like all the while; OSError, FileTooLarge."""
        limit = self._settings.max_image_bytes
        with open(open_below(self._source.root, path), "rb") as file:  # noqa: PTH123 (a descriptor)
            before = signature_of(os.fstat(file.fileno()))
            if before.size > limit:
                raise FileTooLarge(before.size, limit)
            data = file.read(limit + 1)
            if signature_of(os.fstat(file.fileno())) != before or len(data) != before.size:
                raise OSError(None, "It was changed while it was read")
        return data, before

    def _reject(self, path: str, signature: Signature, code: str, reason: str) -> None:
        self._refuse(RefusedFile(path, signature, code, reason))
        self._count(FileOutcome(path, "refused", None, code, reason))

    def _refuse(self, file: RefusedFile) -> None:
        self._refused.append(file)
        if len(self._refused) >= _REFUSED_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._refused:
            self._sources.refuse(self._source.id, self._refused)
            self._refused = []

    def _count(self, outcome: FileOutcome) -> None:
        progress = self.progress
        progress.done += 1
        setattr(progress, outcome.status, getattr(progress, outcome.status) + 1)
        self.tell(outcome)

    def _settle(self, walk: Walk, there: set[str]) -> None:
        """Note what is gone, and delete what has been missing for long enough."""
        progress = self.progress
        for mount in self._source.mounts:
            if mount not in walk.mounts and not any(beneath(path, mount) for path in there):
                progress.kept[mount] = "nothing is mounted on it any more"
        gone = [
            path
            for path, known in self._known.items()
            if path not in there
            and known.state != "missing"
            and not any(beneath(path, folder) for folder in progress.kept)
        ]
        if gone:
            progress.missing = self._sources.settle(self._source.id, gone)
        days = timedelta() if self._options.prune else timedelta(days=self._settings.missing_days)
        progress.pruned = self._sources.prune(self._source.id, datetime.now(UTC) - days)
        mounts = walk.mounts | (set(self._source.mounts) & progress.kept.keys())
        reason = "; ".join(f"{folder}: {why}" for folder, why in sorted(progress.kept.items())) or None
        self._sources.note(self._source.id, "ready", reason, sorted(mounts))
        self._finished = True


class FileTooLarge(Exception):  # noqa: N818  # it is the file that is
    """A file with more bytes than images may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"The file has {size:,} bytes; the limit is {limit:,} (VISEM_MAX_IMAGE_BYTES). Raise it, or make a "
            "smaller file."
        )


def _age(signature: Signature) -> float:
    """How many seconds ago a file was changed; one of the future counts as old."""
    age = time.time() - signature.mtime_ns / 1e9
    return age if age >= 0 else float("inf")
