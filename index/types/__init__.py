"""The records of a library and what its methods take and return.

A *key* is the catalog's integer for a record: never reused, ascending with time, internal to this package. An
*id* is the random, URL-safe name that the outside world uses. A *space* is what gives vectors their meaning:
vectors of two spaces must never be compared.
"""

from index.types.additions import Added, NewCaption, NewImage, NewSentence
from index.types.answers import EngineState, Hit, IndexStats, LibraryStats, Page, T
from index.types.basics import (
    Concept,
    Concepts,
    ContentKind,
    Filters,
    Halves,
    Keys,
    Metadata,
    NameConcepts,
    Space,
    Target,
    Vectors,
)
from index.types.content import Content, ImageFile
from index.types.photos import ANY_PHOTO, NEWEST_FIRST, NO_FACTS, Month, Near, Order, PhotoFacts, PhotoFilter, Place
from index.types.records import (
    MAX_CAPTION_ATTEMPTS,
    CaptionOrigin,
    CaptionRecord,
    ImageRecord,
    OwedCaptions,
    PendingDeletion,
    R,
    SentenceRecord,
)
from index.types.sources import (
    FileInPlace,
    FileState,
    KnownFile,
    Location,
    RefusedFile,
    Signature,
    Source,
    SourceFile,
    SourceState,
)

__all__ = [
    "ANY_PHOTO",
    "MAX_CAPTION_ATTEMPTS",
    "NEWEST_FIRST",
    "NO_FACTS",
    "Added",
    "CaptionOrigin",
    "CaptionRecord",
    "Concept",
    "Concepts",
    "Content",
    "ContentKind",
    "EngineState",
    "FileInPlace",
    "FileState",
    "Filters",
    "Halves",
    "Hit",
    "ImageFile",
    "ImageRecord",
    "IndexStats",
    "Keys",
    "KnownFile",
    "LibraryStats",
    "Location",
    "Metadata",
    "Month",
    "NameConcepts",
    "Near",
    "NewCaption",
    "NewImage",
    "NewSentence",
    "Order",
    "OwedCaptions",
    "Page",
    "PendingDeletion",
    "PhotoFacts",
    "PhotoFilter",
    "Place",
    "R",
    "RefusedFile",
    "SentenceRecord",
    "Signature",
    "Source",
    "SourceFile",
    "SourceState",
    "Space",
    "T",
    "Target",
    "Vectors",
]
