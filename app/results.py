"""What `Service` takes and gives, as plain values without HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index import Hit, ImageRecord, SentenceRecord, Target

CaptionMode = Literal["generate", "retrieve"]
Strategy = Literal["beam", "sample"]


def _no_filters() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class SearchOptions:
    """How to search: `k` hits a page among `target`, after `cursor`, of at least `min_score` (a cosine).

    `filters` demand metadata values. What the query names is found, too, with `include_query_items`.
    """

    target: Target = "images"
    k: int = 10
    cursor: str | None = None
    min_score: float | None = None
    filters: Mapping[str, str] = field(default_factory=_no_filters)
    include_query_items: bool = False


@dataclass(frozen=True)
class SearchResult:
    """A page of hits, best first. `expression` is the canonical query; None when an image was all of it."""

    expression: str | None
    target: Target
    hits: list[Hit]
    next_cursor: str | None
    unknown_words: tuple[str, ...]


@dataclass(frozen=True)
class Concept:
    """A word near an image, and its cosine with it."""

    word: str
    score: float


@dataclass(frozen=True)
class DescribedImage:
    """An image and the words nearest to it, best first."""

    record: ImageRecord
    concepts: tuple[Concept, ...]


@dataclass(frozen=True)
class SentenceResult:
    """What became of one sentence. `record` unless rejected; `code` and `reason` when rejected."""

    status: Literal["created", "duplicate", "rejected"]
    text: str
    record: SentenceRecord | None
    unknown_words: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Embedding:
    """A unit vector (D,), or the code and the reason why there is none."""

    vector: NDArray[np.float32] | None
    unknown_words: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CaptionOptions:
    """How to caption: `n` captions; the rest is for mode "generate". Without a mode the bundle decides."""

    n: int = 5
    mode: CaptionMode | None = None
    strategy: Strategy = "beam"
    structure: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class RetrievedCaption:
    """A sentence of the library and its cosine with the image."""

    text: str
    similarity: float
    sentence_id: str


@dataclass(frozen=True)
class GeneratedCaption:
    """A caption that the bundle's captioner wrote; the fields are those of `model.captioner.Caption`."""

    text: str
    score: float
    similarity: float
    fluency: float
    structure: tuple[str, ...]
    confidence: float


@dataclass(frozen=True)
class Captions:
    """Captions of one image, best first, and how they came about."""

    mode: CaptionMode
    captions: list[RetrievedCaption] | list[GeneratedCaption]
