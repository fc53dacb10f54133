"""What a pass did, and what the library has after it."""

from __future__ import annotations

from app.ingest.sources.progress import PassProgress
from app.service import Service


def ids(service: Service) -> dict[str, str]:
    """The ids of all images that are found, by file name."""
    return {str(record.filename): record.id for record in service.list_images(limit=100).items}


def did(progress: PassProgress) -> dict[str, int]:
    """What a pass counted, without what it did not find."""
    names = ("unchanged", "created", "changed", "recognised", "refused", "ignored", "skipped", "returned", "missing")
    return {name: number for name in (*names, "pruned", "deferred") if (number := getattr(progress, name))}
