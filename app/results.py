"""What `Service` takes and gives, as plain values without HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index import SentenceRecord

CaptionMode = Literal["generate", "retrieve"]
Strategy = Literal["beam", "sample"]


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
