"""The towers' parts of `bundle.json`: what each kind of tower has to know of itself, and the files that it lies in."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    """One or more timm backbones, their pooled features in a row, and the projection.

    One backbone looks at one view of an image after another. Of several, each looks at its own view: they cost what as
    many views of one cost.
    """

    files: ClassVar[tuple[str, ...]] = (BACKBONE_WEIGHTS, BACKBONE_GRAPH, ENCODERS)
    """What it lies in, and its vectors depend on."""

    tower: Literal["backbone"] = "backbone"
    backbone: str = Field(description="timm name of the network; of several, joined by +.")
    feature_dimension: int = Field(gt=0, description="Of all networks together.")
    kinds: int = Field(
        default=0, ge=0, description="Kinds of things that the classifier of the (first) backbone tells apart."
    )
    kinds_feature_dimension: int | None = Field(
        default=None, gt=0, description="How many features, from the first on, the classifier reads; none: all."
    )
    preprocessing: Preprocessing
    views: tuple[View, ...] = Field(
        default=("whole",),
        min_length=1,
        description="An image's vector is the normalised mean of those of its views; each is a pass of the network. "
        "Of several networks, each looks at its own: the first at the first view.",
    )

    @property
    def backbones(self) -> tuple[str, ...]:
        """The timm names of its networks."""
        return tuple(self.backbone.split("+"))

    @property
    def passes(self) -> tuple[tuple[View, ...], ...]:
        """The views that go through the networks at once, for each of the vectors that make an image's."""
        return tuple((view,) for view in self.views) if len(self.backbones) == 1 else (self.views,)

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that it is made of."""
        return ("backbone", "projection")

    def identity(self) -> dict[str, Any]:
        """All that its vectors depend on beside its files: a part of what the space is known by."""
        # What is older than its field is left out: the kind of tower, and one view of the whole.
        unnamed = {"tower"} if self.views != ("whole",) else {"tower", "views"}
        if self.kinds_feature_dimension is None:
            unnamed.add("kinds_feature_dimension")
        return self.model_dump(mode="json", exclude=unnamed)

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        several = len(self.backbones) > 1
        if several and len(self.views) != len(self.backbones):
            raise ValueError(f"{len(self.backbones)} networks look at one view each, not at {len(self.views)}")
        if not several and len(set(self.views)) != len(self.views):
            raise ValueError("a view counts once")
        return self


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

    @model_validator(mode="after")
    def _encoders_are_there(self) -> Self:
        if "lstm" in self.encoders and self.lstm_dimension is None:
            raise ValueError("an LSTM without a size")
        if self.sentence_encoder not in self.choices:
            raise ValueError(f"no sentence encoder {self.sentence_encoder} among {', '.join(self.encoders)}")
        return self

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
