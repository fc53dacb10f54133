"""`visem add --in-place`: folders into the library whose pictures stay where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.failures import USAGE, CommandError, error_document
from app.cli.interruption import Ending, batch
from app.cli.json_stream import JsonStream
from app.cli.output import count, real_path, say, shown, write
from app.cli.progress import Reporter
from app.ingest.folders import describe_skipped
from app.problems import describe

if TYPE_CHECKING:
    from app.ingest.sources.passes import SourcePass
    from app.ingest.sources.progress import FileOutcome, PassProgress
    from app.service import Service
    from index import Source

_COUNTS = (
    "seen",
    "unchanged",
    "created",
    "changed",
    "recognised",
    "refused",
    "ignored",
    "skipped",
    "deferred",
    "returned",
    "missing",
    "pruned",
)


def register_folders(service: Service, folders: Sequence[Path]) -> list[Source]:
    """Make these folders sources, or find out which they are; CommandError, before anything is read."""
    from app.ingest.sources.registering import SourceRefused, register_source

    # A source may be away, such as a drive that is not plugged in; a new one that is not there is a slip of the pen.
    known = {source.root for source in service.library.sources.all()}
    for folder in folders:
        root = folder.expanduser().resolve()
        if not root.exists() and str(root) not in known:
            raise CommandError("invalid_request", f"{shown(folder)} does not exist.", USAGE)
    try:
        return [register_source(service.library, folder, service.settings.library) for folder in folders]
    except SourceRefused as error:
        raise CommandError(error.code, str(error), USAGE) from error


class InPlaceAddition:
    """One run over some sources: counts what becomes of their files, and reports it as it goes."""

    def __init__(
        self, service: Service, sources: Sequence[Source], reporter: Reporter, results: JsonStream | None
    ) -> None:
        self.interrupted = False
        self._service = service
        self._sources = sources
        self._reporter = reporter
        self._results = results
        self._passes: list[tuple[Source, SourcePass]] = []

    @property
    def failed(self) -> bool:
        """Whether a file was refused, or a folder is not there."""
        return any(one.progress.refused or one.progress.away for _, one in self._passes)

    def run(self, metadata: dict[str, Any], *, prune: bool) -> None:
        """Go over every source. The first Ctrl-C or SIGTERM ends it, and leaves the library whole."""
        from app.ingest.sources.passes import SourcePass
        from app.ingest.sources.progress import PassOptions

        with batch(self._summarise) as interruption:
            for source in self._sources:
                one = SourcePass(
                    self._service.library,
                    partial(self._service.ingest, metadata=metadata),
                    self._service.settings,
                    source,
                    PassOptions(retry=True, prune=prune),
                    lambda: interruption.requested,
                )
                one.tell = partial(self._record, source, one.progress)
                self._passes.append((source, one))
                one.run()
                if one.progress.phase == "stopped":
                    break

    def _record(self, source: Source, progress: PassProgress, outcome: FileOutcome) -> None:
        path = Path(source.root, outcome.path)
        if outcome.status == "refused":
            self._reporter.note(f"Refused {shown(path)}: {outcome.reason}")
        self._reporter.update(progress.done, progress.total)
        if self._results is not None:
            from app.http import responses

            image = None if outcome.record is None else responses.image(outcome.record).model_dump(mode="json")
            self._results.add(
                {
                    "path": real_path(path),
                    "status": outcome.status,
                    "image": image,
                    "code": outcome.code,
                    "reason": outcome.reason,
                }
            )

    def _summarise(self, ending: Ending) -> None:
        self.interrupted = ending.interrupted
        totals = {name: sum(getattr(one.progress, name) for _, one in self._passes) for name in _COUNTS}
        if self._results is not None:
            self._results.end(
                **totals,
                sources=[
                    {
                        "id": source.id,
                        "path": real_path(source.root),
                        "away": one.progress.away,
                        "kept": {real_path(folder): why for folder, why in one.progress.kept.items()},
                        "links": one.progress.links,
                        "passed_by": dict(one.walk.passed_by.most_common()),
                        "left_out": [
                            {"path": real_path(Path(source.root, folder)), "reason": reason}
                            for folder, reason in one.walk.left_out.items()
                        ],
                        "finished": one.progress.phase == "done",
                    }
                    for source, one in self._passes
                ],
                interrupted=self.interrupted,
                seconds=round(ending.seconds, 3),
                **({} if ending.failure is None else error_document(*describe(ending.failure))),
            )
            return
        write(f"{count(totals['seen'], 'file')} seen: {describe_counts(totals)}.\n")
        passed_by: Counter[str] = Counter()
        for source, one in self._passes:
            progress = one.progress
            passed_by += one.walk.passed_by
            for folder, why in one.walk.left_out.items():
                say(f"Left out {shown(Path(source.root, folder))}: {why}.")
            if progress.away is not None:
                say(f"{shown(source.root)}: {progress.away} Nothing was changed.")
            for folder, why in progress.kept.items():
                say(f"{shown(Path(source.root, folder))}: {why}. Its photographs stay as they are.")
            if progress.links:
                say(f"{shown(source.root)}: {count(progress.links, 'link')} not followed.")
        if passed_by:
            say(f"Skipped, not images: {describe_skipped(passed_by)}.")


def describe_counts(totals: dict[str, int]) -> str:
    """`3 new, 1 changed, 500 unchanged; 2 photographs are missing`."""
    words = {
        "created": "new",
        "changed": "changed",
        "recognised": "already in the library",
        "unchanged": "unchanged",
        "refused": "refused",
        "ignored": "deleted in Visem",
        "skipped": "not images",
        "deferred": "left for later",
    }
    files = ", ".join(f"{totals[name]:,} {word}" for name, word in words.items() if totals[name]) or "nothing to do"
    notes = []
    if totals["returned"]:
        notes.append(f"{count(totals['returned'], 'file')} came back")
    if totals["missing"]:
        notes.append(f"{count(totals['missing'], 'photograph')} went missing")
    if totals["pruned"]:
        notes.append(f"{count(totals['pruned'], 'missing photograph')} deleted from the library")
    return "; ".join([files, *notes])
