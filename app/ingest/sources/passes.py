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
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Protocol

from app.embedding.batcher import batched
from app.ingest.folders import begins_as_picture
from app.ingest.pipeline import IncomingFile, IngestResult
from app.ingest.sources.mount_check import cover, in_their_place, mounts_away, reason_away
from app.ingest.sources.progress import Became, FileOutcome, PassOptions, PassProgress
from app.ingest.sources.walking import Walk, beneath
from app.settings import Settings
from index import FileInPlace, KnownFile, Library, RefusedFile, Signature, Source, open_below, signature_of

UNREADABLE = "file_unreadable"
"""The code of files that could not be read, perhaps since the disk was asleep: the next pass tries them again."""
FOLDER_UNREADABLE = "folder_unreadable"

_PASSING = frozenset({UNREADABLE, FOLDER_UNREADABLE})
"""They say nothing about the content of a file: its image remains what it is."""

_RECOGNISED_AT_ONCE = 64
_REFUSED_AT_ONCE = 64
_TOLD = 10
_AS_USUAL = PassOptions()


class Ingest(Protocol):
    """Stores photographs: `Service.ingest`."""

    def __call__(
        self, files: Iterable[IncomingFile], /, *, stop: Callable[[], bool]
    ) -> Generator[IngestResult, None, None]:
        """Yield a result for each file, in order, until `stop` returns true."""
        ...


class SourcePass:
    """One pass. `run` it once; `progress` can be looked at meanwhile."""

    def __init__(
        self,
        library: Library,
        ingest: Ingest,
        settings: Settings,
        source: Source,
        options: PassOptions = _AS_USUAL,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[FileOutcome], None] = lambda outcome: None,
    ) -> None:
        """`stop` is called often: true ends the pass early. `tell` is called for every file that was read."""
        self.progress = PassProgress()
        self.walk = Walk(source.root, settings.library, stop)
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
        progress, walk = self.progress, self.walk
        self._known = self._sources.known(self._source.id)
        found: dict[str, Signature] = {}
        work = _Work()
        try:
            for path, signature, by_ending in walk.files():
                found[path] = signature
                progress.seen += 1
                self._sort(path, signature, by_ending, work)
        except OSError as error:
            self._away(f"The folder cannot be opened: {error.strerror}.")
            return
        progress.links = walk.links
        if not walk.complete or self._stop():
            return
        if not walk.is_still_there():
            self._away("The folder was exchanged or taken away while it was gone through.")
            return
        if (reason := reason_away(self._source, self._known, walk, found, self._has_content)) is not None:
            self._away(reason)
            return
        progress.kept |= mounts_away(self._source, self._known, walk, found, self._has_content)
        progress.seen -= work.leave_out(progress.kept)
        if walk.mounts - set(self._source.mounts):  # before there are files that depend on it
            mounts = sorted(walk.mounts | set(self._source.mounts))
            self._sources.note(self._source.id, "new", self._source.reason, mounts)
        if work.returned:
            self._sources.seen(self._source.id, work.returned)
            progress.returned = len(work.returned)
        self._note_unreadable(walk, found)
        self._look_into(work)
        progress.phase, progress.started = "adding", time.monotonic()
        progress.total = len(work.fresh) + len(work.altered)
        if any(known.state == "deleted" for known in self._known.values()):
            self._add(self._recognise(work.fresh))
        else:
            moved, new = self._split_moved(work.fresh, found)
            self._add([*self._recognise(moved), *new])
        self._add(self._recognise(work.altered))
        self._flush()
        if not self._stop():
            self._settle(walk, found)

    def _sort(self, path: str, signature: Signature, by_ending: bool, work: _Work) -> None:
        """Decide, from what a file looks like, whether it has to be read."""
        progress, known = self.progress, self._known.get(path)
        if known is not None and known.signature == signature and not self._is_to_be_tried_again(known):
            if known.state == "missing":
                work.returned.append((path, signature))
            if known.state == "deleted":
                progress.ignored += 1
            elif known.state == "skipped":
                progress.skipped += 1
            else:
                progress.unchanged += 1
        elif self._options.settle_seconds and _age(signature) < self._options.settle_seconds:
            progress.deferred += 1
        elif by_ending:
            self._is_to_be_read(path, signature, work)
        else:
            work.unnamed.append((path, signature))

    def _is_to_be_read(self, path: str, signature: Signature, work: _Work) -> None:
        known = self._known.get(path)
        (work.fresh if known is None or known.state == "deleted" else work.altered).append((path, signature))

    def _look_into(self, work: _Work) -> None:
        """Find out which of the files without an ending are pictures."""
        for path, signature in work.unnamed:
            if self._stop():
                return
            if self._begins_as_picture(path, signature):
                self._is_to_be_read(path, signature, work)
            else:
                self.progress.skipped += 1

    def _is_to_be_tried_again(self, known: KnownFile) -> bool:
        return known.state == "refused" and (self._options.retry or known.code == UNREADABLE)

    def _split_moved(
        self, fresh: Sequence[tuple[str, Signature]], found: Mapping[str, Signature]
    ) -> tuple[list[tuple[str, Signature]], list[tuple[str, Signature]]]:
        """Return the files that look like one whose path is gone, and the others."""
        gone = {known.signature for path, known in self._known.items() if path not in found}
        moved = [one for one in fresh if one[1] in gone]
        return moved, [one for one in fresh if one[1] not in gone]

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

    def _has_content(self, path: str, folder: str) -> bool:
        """Tell whether a file has the content of one that was below a folder."""
        try:
            data, _ = self._read(path)
        except (OSError, FileTooLarge):
            return False
        places = self._sources.locate(hashlib.sha256(data).hexdigest())
        return any(place.root == self._source.root and beneath(place.path, folder) for place in places)

    def _away(self, reason: str) -> None:
        """Note that nothing can be done; what was found instead does not count."""
        progress = self.progress
        progress.away = reason
        progress.seen = progress.unchanged = progress.skipped = progress.ignored = progress.deferred = 0
        self._sources.note(self._source.id, "away", reason)

    def _note_unreadable(self, walk: Walk, found: dict[str, Signature]) -> None:
        for path, reason in walk.unreadable.items():
            self.progress.kept[path] = f"cannot be read: {reason}"
            text = f"It cannot be read: {reason}."
            found[path] = Signature(0, 0, 0)
            self.progress.seen += 1
            self._reject(path, found[path], FOLDER_UNREADABLE, text)
            self.progress.done -= 1  # it is none of those that are counted in `total`

    def _recognise(self, files: Sequence[tuple[str, Signature]]) -> list[tuple[str, Signature]]:
        """Note the files whose content the library has; return the others, which are to be embedded."""
        left: list[tuple[str, Signature]] = []
        for chunk in batched(files, _RECOGNISED_AT_ONCE):
            if self._stop():
                return left
            read: list[tuple[FileInPlace, str]] = []
            for path, signature in chunk:
                if self._stop():
                    break
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
        with closing(self._ingest(self._incoming(files, waiting), stop=self._stop)) as results:
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
        known = self._known.get(path)
        if code not in _PASSING or known is None or known.state not in ("present", "missing"):
            self._refuse(RefusedFile(path, signature, code, reason))  # else what is remembered of it still holds
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

    def _settle(self, walk: Walk, found: dict[str, Signature]) -> None:
        """Note what is gone, and delete what has been missing for long enough."""
        progress = self.progress
        absent = [path for path in self._known if path not in found and cover(path, progress.kept) is None]
        progress.kept |= in_their_place(self._source.root, absent)
        if not walk.is_still_there():  # else what was not to be seen just now may only be out of sight
            self._away("The folder was exchanged or taken away while it was gone through.")
            return
        gone = [path for path in absent if self._known[path].state != "missing" and cover(path, progress.kept) is None]
        if gone:
            progress.missing = self._sources.settle(self._source.id, gone)
        days = timedelta() if self._options.prune else timedelta(days=self._settings.missing_days)
        progress.pruned = self._sources.prune(self._source.id, datetime.now(UTC) - days, list(progress.kept))
        mounts = walk.mounts | (set(self._source.mounts) & progress.kept.keys())
        self._sources.note(self._source.id, "ready", _told(progress.kept), sorted(mounts))
        self._finished = True


@dataclass
class _Work:
    """Files by what is to be done with them: `unnamed` have no ending, `fresh` and `altered` are to be read."""

    returned: list[tuple[str, Signature]] = field(default_factory=list)
    unnamed: list[tuple[str, Signature]] = field(default_factory=list)
    fresh: list[tuple[str, Signature]] = field(default_factory=list)
    altered: list[tuple[str, Signature]] = field(default_factory=list)

    def leave_out(self, folders: Collection[str]) -> int:
        """Leave files below these folders alone; return how many would have been read."""
        before = len(self.unnamed) + len(self.fresh) + len(self.altered)
        for name in ("returned", "unnamed", "fresh", "altered"):
            setattr(self, name, [one for one in getattr(self, name) if cover(one[0], folders) is None])
        return before - len(self.unnamed) - len(self.fresh) - len(self.altered)


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


def _told(kept: Mapping[str, str]) -> str | None:
    """Say in which folders files count as there, and why."""
    parts = [f"{folder}: {why}" for folder, why in sorted(kept.items())]
    more = [f"and {len(parts) - _TOLD:,} more"] if len(parts) > _TOLD else []
    return "; ".join(parts[:_TOLD] + more) or None
