"""What `Service` takes and gives, as plain values without HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # searching loads no captioner
    import numpy as np
    from numpy.typing import NDArray

    from index import Hit, SentenceRecord
    from model.bundle import BundleConfig
    from model.captioner import Caption

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
class Captions:
    """Captions of one image, best first, and how they came about: hits among the sentences where they are retrieved."""

    mode: CaptionMode
    captions: list[Caption] | list[Hit]


@dataclass(frozen=True)
class ModelInfo:
    """The bundle at work: digest of all that determines a vector, name, dimension D, and the device that it runs on.

    `sentence_encoder` is the one that its figures of quality call by this name, `known_words` how many words it knows;
    None: any.
    """

    id: str
    name: str
    dimension: int
    device: str
    config: BundleConfig
    sentence_encoder: str
    known_words: int | None
