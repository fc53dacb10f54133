"""The captioner's part of `bundle.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CAPTIONER = "captioner.safetensors"
STRUCTURES = "structures.json"


class ScnlmConfig(BaseModel):
    """Sizes of the network; the names of the dimensions are those of model/captioner/scnlm.py."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Literal["lstm", "log-bilinear"] = "lstm"
    words: int = Field(gt=3, description="V, the three special ones included.")
    tags: int = Field(gt=2, description="Parts of speech, the two special ones included.")
    content_dimension: int = Field(gt=0, description="D, of the joint space.")
    word_dimension: int = Field(default=256, gt=0, description="K.")
    attribute_dimension: int = Field(default=256, gt=0, description="A.")
    factors: int = Field(default=384, gt=0, description="F.")
    hidden_dimension: int = Field(default=384, gt=0, description="State of the LSTM.")
    context_words: int = Field(default=5, gt=0, description="Words that the log-bilinear form looks back.")
    structure_window: int = Field(default=4, gt=0, description="k: tags of this word and of the next k - 1.")


class CaptionerConfig(BaseModel):
    """How captions are written and ranked. Says nothing about vectors: the space stays the same with or without it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: ScnlmConfig
    images: int = Field(gt=0, description="Training images: the document frequencies are of so many.")
    beam: int = Field(default=8, gt=0, description="Beam of the open structure.")
    open_captions: int = Field(default=14, gt=0, description="Candidates kept of it.")
    structures: int = Field(default=8, ge=0, description="Structures tried for an image.")
    structure_beam: int = Field(default=2, gt=0, description="Beam of each.")
    samples: int = Field(default=24, gt=0, description="Captions drawn for an image by the strategy `sample`.")
    temperature: float = Field(default=0.8, gt=0, description="Of these.")
    longest: int = Field(default=18, gt=0, description="Words of a caption of open structure.")
    shortest: int = Field(default=4, gt=0)
    diversity: float = Field(
        default=0.0, ge=0, description="What a share of words that no caption before it has is worth, behind the first."
    )
    plain_below: float = Field(
        default=0.0, ge=0, le=1, description="A plain caption comes first where the confidence is less than this."
    )
    plain_unfamiliar: float = Field(
        default=0.0, ge=0, le=1, description="The same for images that are like none that the captioner learned from."
    )
    unfamiliar: float = Field(
        default=-1.0, ge=-1, le=1, description="Cosine with the nearest landmark below which images are so."
    )
    kernel: bool = Field(
        default=False, description="What is expected of an image is read from the kernel of the detectors of concepts."
    )
    expected_content: float = Field(
        default=0.0, ge=0, description="Weight of the expected captions' vector beside the image's, as content."
    )
    guidance: float = Field(
        default=0.0, ge=0, description="How much a search favours words that are likelier than usual, by logarithms."
    )
    ranking: dict[str, float] = Field(
        default_factory=dict, description="Weight of each feature of model/captioner/ranking.py."
    )
    confidence: dict[str, float] = Field(default_factory=dict, description="Logistic weights, `bias` among them.")
    training: dict[str, Any] = Field(default_factory=dict, description="Training settings, seed included.")
    quality: dict[str, Any] = Field(default_factory=dict, description="Figures measured after training.")
