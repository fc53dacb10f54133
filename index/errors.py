"""Everything that can go wrong with a library, as one tree.

    LibraryError
     ├─ RecordNotFound        record_not_found      no image or sentence has this id
     ├─ InvalidCursor         invalid_cursor        not a cursor of this very query
     ├─ InvalidFilter         invalid_filter        metadata filters that cannot be applied
     ├─ InvalidMetadata       invalid_metadata      not a JSON object, or a too large one
     ├─ InvalidText           invalid_text          an empty, too long or undecodable sentence
     ├─ InvalidVector         invalid_vector        wrong dimension, zero, NaN or infinite
     ├─ SpaceMismatch         space_mismatch        the library's vectors were made by another bundle
     ├─ ArchiveMismatch       space_mismatch        a SpaceMismatch: an exported library is of another space
     ├─ ReindexConflict       reindex_conflict      another process re-embeds the same library
     ├─ LibraryNotFound       library_not_found     no library in this directory
     ├─ LibraryClosed         library_closed        used after close()
     ├─ LibraryBusy           library_busy          another process kept the write lock for too long
     ├─ ContentMissing        content_missing       a record's file is gone
     ├─ NothingToEmbed        content_missing       a ContentMissing: a reindex has neither file nor thumbnail
     ├─ SourceAway            source_away           a ContentMissing: its folder in place is not there now
     ├─ SourceNotFound        source_not_found      no source has this id
     ├─ LibraryReplaced       library_replaced      its folder is gone, or another one is in its place
     ├─ StorageFailed         storage_failed        disk full, read-only, or an input/output error
     ├─ CatalogCorrupted      catalog_corrupted     the catalog is damaged, or not a catalog at all
     ├─ CatalogUnsupported    catalog_unsupported   another schema version, or another kind of database
     ├─ BackupDamaged         backup_damaged        a backup that is not whole, or something else
     ├─ ArchiveDamaged        archive_damaged       an exported library that is not whole, or something else
     ├─ EngineAway            engine_away           PostgreSQL, Milvus or S3 does not answer
     └─ EngineUnsupported     engine_unsupported    a part of the library is to be on an engine that is not there

`code` is stable: clients may compare it. The message says what happened and what to do about it.
"""

# ruff: noqa: N818 (the names are part of the contract: what went wrong, without "Error")

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from index.types import Space


Part = Literal["catalog", "vectors", "content"]
"""What a library is made of; each part may be on an engine of its own."""


class LibraryError(Exception):
    """The base of every error that this package raises on purpose."""

    code: ClassVar[str] = "library_error"


class RecordNotFound(LibraryError):
    """No record of this kind has this id: it never existed, or it was deleted."""

    code = "record_not_found"

    def __init__(self, kind: Literal["image", "sentence"], id: str) -> None:
        super().__init__(f"There is no {kind} with the id {id!r}; it may have been deleted.")
        self.kind = kind
        self.id = id


class InvalidCursor(LibraryError):
    """A cursor that was not made by this library for this very query."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__(
            "The cursor does not belong to this query. "
            "Repeat the query that returned it unchanged, or start again without a cursor."
        )


class InvalidFilter(LibraryError):
    """Metadata filters that cannot be applied."""

    code = "invalid_filter"


class InvalidMetadata(LibraryError):
    """Metadata that is not a JSON object within the limits."""

    code = "invalid_metadata"


class InvalidText(LibraryError):
    """A sentence that cannot be stored."""

    code = "invalid_text"


class InvalidVector(LibraryError):
    """A vector that has no direction in the library's space."""

    code = "invalid_vector"


class SpaceMismatch(LibraryError):
    """The library's vectors were made by another bundle than the one in use."""

    code = "space_mismatch"

    def __init__(self, library: Space, given: Space) -> None:
        old, new = f"{library.name} ({library.id[:12]})", f"{given.name} ({given.id[:12]})"
        super().__init__(
            f"The library was embedded with the bundle {old}, but the bundle in use is {new}. "
            f"Use {old}, or run `visem reindex` to embed the library again with {new}."
        )
        self.library = library
        self.given = given


class ReindexConflict(LibraryError):
    """Another process started to re-embed the library with another bundle."""

    code = "reindex_conflict"


class LibraryNotFound(LibraryError):
    """The directory holds no library."""

    code = "library_not_found"

    def __init__(self, root: Path | str) -> None:
        super().__init__(f"There is no library in {root}. Add something with `visem add` to create it.")
        self.root = root


class LibraryClosed(LibraryError):
    """The library was used after it was closed."""

    code = "library_closed"

    def __init__(self) -> None:
        super().__init__("The library is closed. Open it again to continue.")


class LibraryBusy(LibraryError):
    """Another process kept the write lock for longer than the time-out."""

    code = "library_busy"

    def __init__(self) -> None:
        super().__init__("Another process is writing to the library. Nothing was changed: try again later.")


class ContentMissing(LibraryError):
    """The file of a record is gone from where it is kept."""

    code = "content_missing"

    def __init__(self, id: str, location: str) -> None:
        super().__init__(
            f"The file {location} of the image {id} is missing. "
            "Restore it from a backup, add the image again, or delete it."
        )
        self.id = id


class SourceAway(ContentMissing):
    """The file of a record lies in a folder in place which is not there at the moment."""

    code = "source_away"

    def __init__(self, id: str, location: str) -> None:
        LibraryError.__init__(
            self,
            f"The file {location} of the image {id} is in a folder that is not there, or empty. "
            "Mount or connect it again; nothing of the library is lost meanwhile.",
        )
        self.id = id


class NothingToEmbed(ContentMissing):
    """An image that is missing from its folder in place has no thumbnail either, from which it could be embedded."""

    def __init__(self, id: str, filename: str | None) -> None:
        LibraryError.__init__(
            self,
            f"The image {id} ({filename}) is missing from its folder, and no thumbnail of it is kept: nothing is left "
            "to embed. Put the file back, or delete all such images by `visem add --in-place FOLDER --prune`.",
        )
        self.id = id


class SourceNotFound(LibraryError):
    """No source has this id: it never existed, or it was forgotten."""

    code = "source_not_found"

    def __init__(self, id: str) -> None:
        super().__init__(f"There is no source with the id {id!r}; it may have been forgotten.")
        self.id = id


class StorageFailed(LibraryError):
    """The disk is full or read-only, or reported an input/output error."""

    code = "storage_failed"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(
            f"Writing or reading {path} failed: {reason}. Check its free space and permissions; "
            "what was not acknowledged was not stored."
        )
        self.path = path


class LibraryReplaced(LibraryError):
    """The folder of the library, or a part of it, or its tables, were moved, replaced or removed while it was open."""

    code = "library_replaced"

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            f"{path} was moved, replaced or removed after the library was opened. What was not "
            "acknowledged was not stored. Put it back, or open the library again."
        )
        self.path = path


class CatalogCorrupted(LibraryError):
    """The catalog is damaged, or is not a catalog at all."""

    code = "catalog_corrupted"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(
            f"The catalog {path} cannot be used: {reason}. Restore it from a backup, or move it and the "
            "files beside it away to start with an empty library."
        )
        self.path = path


class BackupDamaged(LibraryError):
    """A backup that ends too early, was changed, or is something else."""

    code = "backup_damaged"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not a complete backup of a library: {reason}. Nothing was restored.")


class ArchiveDamaged(LibraryError):
    """The archive of an exported library ends too early, was changed, or is something else."""

    code = "archive_damaged"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(
            f"{path} is not a complete export of a library: {reason}. What was imported before that place is whole "
            "and stays. Copy or export it again, and repeat the import: it goes on from there."
        )


class ArchiveMismatch(SpaceMismatch):
    """The vectors of an archive are of another space than those of the library that is to take them over."""

    def __init__(self, library: Space, archive: Space) -> None:
        mine, theirs = f"{library.name} ({library.id[:12]})", f"{archive.name} ({archive.id[:12]})"
        LibraryError.__init__(
            self,
            f"The archive was embedded with the bundle {theirs}, but this library with {mine}: their vectors cannot be "
            f"compared, and nothing was imported. Import it into a new library, run `visem reindex` there with the "
            f"bundle {mine}, and export that one.",
        )
        self.library = library
        self.given = archive


class CatalogUnsupported(LibraryError):
    """The catalog has another schema version, or lives in an unsupported kind of database."""

    code = "catalog_unsupported"


class EngineAway(LibraryError):
    """An engine on another machine does not answer, or answers that it cannot work now. It may the next time."""

    code = "engine_away"

    def __init__(self, part: Part, reason: str) -> None:
        """`reason` is without secrets: it is logged and shown on the command line."""
        super().__init__(
            f"The engine of VISEM_{part.upper()} does not answer: {reason}. "
            "Try again when it is back: what was not acknowledged may be stored or not."
        )
        self.part = part
        self.reason = reason


WITH_CLUSTER = (
    "once the extra `cluster` is installed, in Visem's folder: .venv/bin/pip install -c constraints.txt -e '.[cluster]'"
)
"""How to get an engine whose driver is not installed, for `EngineUnsupported`."""


class EngineUnsupported(LibraryError):
    """A part of the library is to be on an engine that is not there, or not for what is asked."""

    code = "engine_unsupported"

    def __init__(self, part: Part, url: str, present: str) -> None:
        scheme, separator, _ = url.partition("://")  # the rest may hold a password
        given = f"{scheme}://…" if separator else "not a URL"
        super().__init__(f"VISEM_{part.upper()} is {given}, which cannot be used here. Supported: {present}.")
        self.part = part
