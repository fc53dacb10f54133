"""The imported towers' parts of `bundle.json`: pairs of encoders that another library trained, as CLIP and SigLIP.

How they come into a bundle: `model.training.importing`. What runs them: `model.towers.imported_image` and
`imported_text`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from model.runtime.networks import NetworkName
from model.towers.config import ENCODERS

IMAGE_ENCODER, TEXT_ENCODER = "image_encoder", "text_encoder"
TOKENIZER = "tokenizer.json"
CONCEPT_WORDS = "words.txt"
CONCEPT_VECTORS = "words.safetensors"
PLACE = "{}"
"""Where the text stands in a prompt."""

LARGEST_SIDE = 4096
"""Of what an image encoder sees, in pixels: beyond that, a configuration is wrong."""

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Precision = Literal["fp32", "int8"]
Cleaning = Literal["none", "whitespace", "lower", "canonicalize", "plain"]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Config):
    """What the network is, in the terms of the library that builds it; torch builds it from this on a GPU."""

    library: Literal["open_clip", "transformers", "timm"]
    settings: dict[str, Any] = Field(description="The library's own configuration of the network.")


class Pixels(_Config):
    """How pixels become the image encoder's input. Travels with the weights that were trained on it."""

    height: int = Field(gt=0, le=LARGEST_SIDE)
    width: int = Field(gt=0, le=LARGEST_SIDE)
    resize: Literal["shortest", "longest", "squash"] = Field(
        description="The shorter side fits, and the centre is cut out; the longer side fits, and the rest is filled; "
        "or both sides fit, and the aspect ratio is not kept."
    )
    shorter: int | None = Field(
        default=None,
        gt=0,
        le=LARGEST_SIDE,
        description="Length of the shorter side before the centre is cut out; none: it fits.",
    )
    half: Literal["even", "down"] = Field(
        default="even",
        description="Where the centre begins if that is half a pixel: at the even one (torchvision), or before.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    fill: int = Field(default=0, ge=0, le=255, description="Brightness of what is filled.")
    mean: tuple[_Number, _Number, _Number] = Field(description="Subtracted from each channel, in units of 0..1.")
    std: tuple[_Positive, _Positive, _Positive] = Field(description="Each channel is divided by it, in units of 0..1.")

    @property
    def side(self) -> int:
        """About how many pixels a side the encoder looks at."""
        return max(self.height, self.width, self.shorter or 0)


def _files(encoder: str, precision: Precision) -> tuple[str, ...]:
    files = (f"{encoder}.safetensors", f"{encoder}.onnx")
    return files if precision == "fp32" else (*files, f"{encoder}.int8.onnx")


class ImportedImageConfig(_Config):
    """An image encoder of another library; and, where its vectors are not those of the joint space, a projection."""

    kinds: ClassVar[int] = 0
    kinds_feature_dimension: ClassVar[int | None] = None
    """It comes without a classifier."""

    tower: Literal["imported"] = "imported"
    architecture: Architecture
    pixels: Pixels
    feature_dimension: int | None = Field(
        default=None,
        gt=0,
        description="Length of the encoder's vectors, where a projection takes them into the joint space; none: they "
        "are in it.",
    )
    precision: Precision = Field(default="fp32", description="Which of its two graphs a CPU runs.")

    @property
    def files(self) -> tuple[str, ...]:
        """What it lies in, and its vectors depend on."""
        files = _files(IMAGE_ENCODER, self.precision)
        return files if self.feature_dimension is None else (*files, ENCODERS)

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that it is made of."""
        return ("image_encoder",) if self.feature_dimension is None else ("image_encoder", "projection")

    def identity(self) -> dict[str, Any]:
        """All that its vectors depend on beside its files: a part of what the space is known by."""
        # Without a projection it keeps the identity that it had before there were any.
        return self.model_dump(mode="json", exclude={"feature_dimension"} if self.feature_dimension is None else None)


class Prompts(_Config):
    """What a text is put into before it is embedded; the vector of several is the normalised mean of theirs."""

    sentence: tuple[str, ...] = Field(default=(PLACE,), min_length=1, description="Of whole sentences.")
    operand: tuple[str, ...] = Field(
        default=(PLACE,), min_length=1, description="Of operands of arithmetic, and of words that name concepts."
    )

    @field_validator("sentence", "operand")
    @classmethod
    def _have_a_place(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if prompt.count(PLACE) != 1:
                raise ValueError(f"the prompt {prompt!r} needs {PLACE} once, where the text is to stand")
        return prompts


class ImportedTextConfig(_Config):
    """A text encoder of another library."""

    tower: Literal["imported"] = "imported"
    architecture: Architecture
    cleaning: Cleaning = Field(description="What is done to a text before it is split; see `model.towers.tokens`.")
    context_length: int = Field(gt=0, description="Tokens that it reads at most, its own marks included.")
    padding: int = Field(ge=0, description="The token that fills up a batch.")
    padded: bool = Field(description="Whether every text is filled up to the context length, as it was in training.")
    prompts: Prompts = Prompts()
    concepts: bool = Field(default=False, description="Whether there are words to name what an image shows.")
    precision: Precision = Field(default="fp32", description="Which of its two graphs a CPU runs.")

    @property
    def files(self) -> tuple[str, ...]:
        """What it lies in, and its vectors depend on."""
        return (*_files(TEXT_ENCODER, self.precision), TOKENIZER)

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that it is made of."""
        return ("text_encoder",)

    def identity(self) -> dict[str, Any]:
        """All that its vectors of sentences depend on beside its files: a part of what the space is known by.

        No library stores vectors of operands or of concepts: their prompts can change.
        """
        identity = self.model_dump(mode="json", exclude={"concepts", "prompts"})
        return {**identity, "prompts": list(self.prompts.sentence)}
