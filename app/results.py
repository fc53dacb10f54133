"""What `Service` takes and gives, as plain values without HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index import ImageRecord, SentenceRecord, Target

CaptionMode = Literal["generate", "retrieve"]
Strategy = Literal["beam", "sample"]


def _no_filters() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class SearchOptions:
    """How to search: `k` hits a page among `target`, after `cursor`, of at least `min_score` (a cosine).

    `filters` demand metadata values, `concepts` words that are near to an image. What the query names is found,
    too, with `include_query_items`. `min_confidence` is a chance from 0 to 1, of a bundle that tells them. `explain`
    says what each operand added to a score. `all` wants hits that fit every operand, instead of their sum.
    """

    target: Target = "images"
    k: int = 10
    cursor: str | None = None
    min_score: float | None = None
    filters: Mapping[str, str] = field(default_factory=_no_filters)
    include_query_items: bool = False
    min_confidence: float | None = None
    concepts: tuple[str, ...] = ()
    explain: bool = False
    all: bool = False


@dataclass(frozen=True)
class Contribution:
    """What one operand of a query adds to the score of a hit; those of a hit add up to its score."""

    operand: str
    weight: float
    contribution: float


@dataclass(frozen=True)
class FoundHit:
    """A record that was found.

    `score` is the cosine with the query; of an intersection, the product of chances.
    `confidence` is None where the bundle has no calibration, `explanation` where none was asked for.
    """

    record: ImageRecord | SentenceRecord
    score: float
    confidence: float | None = None
    explanation: tuple[Contribution, ...] | None = None


@dataclass(frozen=True)
class SearchResult:
    """A page of hits, best first. `expression` is the canonical query; None when an image was all of it.

    `best_confidence` is that of the best record whatever limits were asked for, on a first page; None where the
    bundle has no calibration, or there are no records.
    """

    expression: str | None
    target: Target
    hits: list[FoundHit]
    next_cursor: str | None
    unknown_words: tuple[str, ...]
    best_confidence: float | None = None


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
