"""Visem's library on disk: records, vectors and content files, and nearest neighbours over them.

Everything public is re-exported here; `Library` is what other packages call.
"""

from index.content import render_thumbnail
from index.errors import (
    CatalogCorrupted,
    CatalogUnsupported,
    ContentMissing,
    InvalidCursor,
    InvalidFilter,
    InvalidMetadata,
    InvalidText,
    InvalidVector,
    LibraryBusy,
    LibraryClosed,
    LibraryError,
    LibraryNotFound,
    RecordNotFound,
    ReindexConflict,
    SpaceMismatch,
    StorageFailed,
)
from index.library import Library
from index.types import (
    Added,
    Filters,
    Hit,
    ImageRecord,
    IndexStats,
    LibraryStats,
    Metadata,
    NewImage,
    NewSentence,
    Page,
    SentenceRecord,
    Space,
    Target,
)

__all__ = [
    "Added",
    "CatalogCorrupted",
    "CatalogUnsupported",
    "ContentMissing",
    "Filters",
    "Hit",
    "ImageRecord",
    "IndexStats",
    "InvalidCursor",
    "InvalidFilter",
    "InvalidMetadata",
    "InvalidText",
    "InvalidVector",
    "Library",
    "LibraryBusy",
    "LibraryClosed",
    "LibraryError",
    "LibraryNotFound",
    "LibraryStats",
    "Metadata",
    "NewImage",
    "NewSentence",
    "Page",
    "RecordNotFound",
    "ReindexConflict",
    "SentenceRecord",
    "Space",
    "SpaceMismatch",
    "StorageFailed",
    "Target",
    "render_thumbnail",
]
