"""The towers' parts of `bundle.json`: what each kind of tower has to know of itself, and the files that it lies in."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from model.runtime.networks import NetworkName
from model.words import TOKENISER

BACKBONE_WEIGHTS = "backbone.safetensors"
BACKBONE_GRAPH = "backbone.onnx"
ENCODERS = "encoders.safetensors"
VOCABULARY = "vocabulary.txt"
SentenceEncoder = Literal["bag", "lstm", "mean"]
"""The linear encoder, the LSTM, or the normalised mean of the two."""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Config):
    """How pixels become the backbone's input. Travels with the weights that were trained on it."""

    size: int = Field(gt=0, description="Side of the square input, in pixels; the aspect ratio is not kept.")
    mean: tuple[float, float, float] = Field(description="Subtracted from each channel, in units of 0..1.")
    std: tuple[float, float, float] = Field(description="Each channel is divided by it, in units of 0..1.")


View = Literal["whole", "centre", "whole mirrored", "centre mirrored"]
"""What of an image the network looks at: all of it, or what is left without `CUT` of each side; or their mirrors."""
CUT = 16 / 224
"""Share of the width, and of the height, that the centre lacks on each side."""


class ImageConfig(_Config):
    """A timm backbone, its pooled feature, and the projection."""

    files: ClassVar[tuple[str, ...]] = (BACKBONE_WEIGHTS, BACKBONE_GRAPH, ENCODERS)
    """What it lies in, and its vectors depend on."""

    tower: Literal["backbone"] = "backbone"
    backbone: str = Field(description="timm name of the network.")
    feature_dimension: int = Field(gt=0)
    kinds: int = Field(default=0, ge=0, description="Kinds of things that the backbone's own classifier tells apart.")
    preprocessing: Preprocessing
    views: tuple[View, ...] = Field(
        default=("whole",),
        min_length=1,
        description="An image's vector is the normalised mean of those of its views; each is a pass of the network.",
    )

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that it is made of."""
        return ("backbone", "projection")

    def identity(self) -> dict[str, Any]:
        """All that its vectors depend on beside its files: a part of what the space is known by."""
        # What is older than its field is left out: the kind of tower, and one view of the whole.
        unnamed = {"tower"} if self.views != ("whole",) else {"tower", "views"}
        return self.model_dump(mode="json", exclude=unnamed)

    @field_validator("views")
    @classmethod
    def _views_differ(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) != len(views):
            raise ValueError("a view counts once")
        return views


class NamesConfig(_Config):
    """How a text that names a kind of thing leans to what photographs of it look like; `model.towers.names`."""

    names: tuple[tuple[str, ...], ...] = Field(description="The names of each kind of the image side, in their order.")
    weight: float = Field(default=2.0, gt=0, description="Of the looks, against the sentence, where the name is whole.")
    threshold: float = Field(
        default=0.75, ge=0, lt=1, description="Cosine of text and name from which on the text may name it."
    )
    certain: float = Field(default=0.9, gt=0, le=1, description="Cosine from which on it surely does.")
    sharpness: float = Field(default=40.0, gt=0, description="Of the softmax over names, by cosine.")

    @model_validator(mode="after")
    def _certain_is_more(self) -> Self:
        if self.certain <= self.threshold:
            raise ValueError("certain has to be above threshold")
        return self


class TextConfig(_Config):
    """Sentence encoders over the vectors of a vocabulary's words."""

    files: ClassVar[tuple[str, ...]] = (ENCODERS, VOCABULARY)
    """What it lies in, and its vectors depend on."""

    tower: Literal["words"] = "words"
    tokeniser: str = TOKENISER
    words: int = Field(gt=0, description="Size of the vocabulary.")
    grounded_words: int = Field(gt=0, description="How many of them, from the first, were seen in training.")
    code_dimension: int | None = Field(
        default=None, gt=0, description="Dimension of the words' codes; none: only grounded words have a vector."
    )
    lstm_dimension: int | None = Field(default=None, description="Hidden units; none: there is no LSTM.")
    lstm_input_dimension: int | None = None
    names: NamesConfig | None = Field(default=None, description="None: texts that name kinds are as all others.")
    encoders: tuple[Literal["bag", "lstm"], ...] = Field(
        default=("bag",), description="Sentence encoders that were trained."
    )
    sentence_encoder: SentenceEncoder = Field(
        default="bag",
        description="What embeds a whole sentence; operands of arithmetic use `bag` where it is.",
    )

    @property
    def choices(self) -> tuple[SentenceEncoder, ...]:
        """Every way in which this bundle can embed a sentence."""
        return (*self.encoders, "mean") if len(self.encoders) > 1 else self.encoders

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that it is made of."""
        words: tuple[NetworkName, ...] = () if self.code_dimension is None else ("words",)
        return words if self.lstm_dimension is None else (*words, "lstm")

    def identity(self) -> dict[str, Any]:
        """All that its vectors depend on beside its files: a part of what the space is known by."""
        # A bundle without names keeps the identity that it had before there were any.
        return self.model_dump(mode="json", exclude={"tower"} | (set() if self.names else {"names"}))
