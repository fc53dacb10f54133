"""Records as the library returns them: images, sentences, captions, and deletions that can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from index.types.basics import Concepts, Metadata
from index.types.photos import NO_FACTS, PhotoFacts

CaptionOrigin = Literal["captioner", "user"]
"""Who says that a sentence is a caption of an image: the captioner of a bundle, or people."""


R = TypeVar("R", bound="ImageRecord | SentenceRecord")


@dataclass(frozen=True)
class ImageRecord:
    """A stored image. `sha256` names its content, `created_at` is UTC, `size` is in bytes."""

    id: str
    sha256: str
    filename: str | None
    media_type: str
    width: int
    height: int
    size: int
    created_at: datetime
    metadata: Metadata
    concepts: Concepts = ()
    facts: PhotoFacts = NO_FACTS


@dataclass(frozen=True)
class SentenceRecord:
    """A stored sentence; `created_at` is UTC."""

    id: str
    text: str
    created_at: datetime
    metadata: Metadata


@dataclass(frozen=True)
class CaptionRecord:
    """A sentence that is a caption of an image. `score`: what its captioner ranked it by, None if people wrote it."""

    sentence: SentenceRecord
    origin: CaptionOrigin
    score: float | None


MAX_CAPTION_ATTEMPTS = 5
"""How often the captions of an image are attempted before they are given up."""


@dataclass(frozen=True)
class OwedCaptions:
    """An image that is to get captions of the captioner, how many, and which attempt this is, from 1."""

    image_id: str
    count: int
    attempt: int


@dataclass(frozen=True)
class PendingDeletion:
    """An image whose deletion can be undone; it is due at `due`, in UTC."""

    image_id: str
    filename: str | None
    due: datetime
