"""What `visem add` tells of: every file as it goes, and counts at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from app.cli.failures import error_document
from app.cli.interruption import Ending
from app.cli.json_stream import JsonStream
from app.cli.output import count, real_path, say, shown, write
from app.cli.progress import Reporter
from app.ingest.folders import describe_skipped
from app.problems import describe

if TYPE_CHECKING:
    from app.ingest.pipeline import IngestResult


class AdditionReport:
    """Counts what becomes of files and folders, and tells of it: as one JSON document with `results`."""

    def __init__(self, reporter: Reporter, results: JsonStream | None) -> None:
        self.counts: Counter[str] = Counter()
        """Files by status; rejected folders count, too."""
        self.left_out: list[dict[str, str]] = []
        self._reporter = reporter
        self._results = results

    def record(self, path: Path | str, result: IngestResult) -> None:
        """Tell what became of a file."""
        if result.status == "rejected":
            self.reject(path, str(result.code), str(result.reason))
            return
        self.counts[result.status] += 1
        if self._results is not None:
            from app.http import responses

            self._results.add(
                {"path": real_path(path), **responses.image_status(result).model_dump(mode="json")},
            )

    def reject(self, path: Path | str, code: str, reason: str) -> None:
        """Tell of a file or a folder that was not taken."""
        self.counts["rejected"] += 1
        self._reporter.note(f"Rejected {shown(path)}: {reason}")
        if self._results is not None:
            self._results.add(
                {
                    "path": real_path(path),
                    "filename": real_path(PurePosixPath(path).name),
                    "status": "rejected",
                    "image": None,
                    "code": code,
                    "reason": reason,
                }
            )

    def leave_out(self, folder: Path | str, reason: str) -> None:
        """Tell of a folder that holds no photographs of anybody."""
        self.left_out.append({"path": real_path(folder), "reason": reason})
        self._reporter.note(f"Left out {shown(folder)}: {reason}.")

    def failed(self, skipped: Mapping[str, int]) -> bool:
        """Whether a file was rejected, or there were files or folders, but no picture among them."""
        found_no_picture = not self.counts.total() and bool(skipped or self.left_out)
        return bool(self.counts["rejected"]) or found_no_picture

    def summarise(self, ending: Ending, skipped: Counter[str]) -> None:
        """End the report. `skipped` are files by ending that are no images."""
        created, duplicates, rejected = (self.counts[key] for key in ("created", "duplicate", "rejected"))
        rate = self.counts.total() / ending.seconds if ending.seconds > 0 else 0.0
        if self._results is not None:
            self._results.end(
                created=created,
                duplicates=duplicates,
                rejected=rejected,
                interrupted=ending.interrupted,
                seconds=round(ending.seconds, 3),
                skipped=dict(skipped.most_common()),
                left_out=self.left_out,
                **({} if ending.failure is None else error_document(*describe(ending.failure))),
            )
            return
        text = f"Added {count(created, 'image')}"
        if duplicates:
            text += f"; {duplicates:,} {'was' if duplicates == 1 else 'were'} already there"
        if rejected:
            text += f"; {rejected:,} {'was' if rejected == 1 else 'were'} rejected"
        write(f"{text} ({rate:.1f} images/s).\n")
        if not (self.counts.total() or skipped or self.left_out or ending.interrupted):
            say("No files were found there.")
        if skipped:
            say(f"Skipped, not images: {describe_skipped(skipped)}.")
