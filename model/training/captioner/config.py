"""Settings of the training of a captioner."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CaptionerTraining(BaseModel):
    """Everything that determines a captioner, given the data and the joint space."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = "default"
    seed: int = 7
    minimum_count: int = Field(default=5, ge=1, description="A word seen less often is never written.")
    context: Literal["lstm", "log-bilinear"] = "lstm"
    word_dimension: int = Field(default=192, gt=0)
    attribute_dimension: int = Field(default=192, gt=0)
    factors: int = Field(default=256, gt=0)
    hidden_dimension: int = Field(default=256, gt=0)
    context_words: int = Field(default=5, gt=0)
    structure_window: int = Field(default=4, gt=0)
    epochs: int = Field(default=5, ge=1)
    batch_captions: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    word_dropout: float = Field(default=0.1, ge=0, lt=1, description="Share of context words that are hidden.")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    average: float = Field(default=0.995, ge=0, lt=1, description="Decay of the moving average of the weights.")
    image_share: float = Field(
        default=0.5, ge=0, le=1, description="How often the content is the image's own vector; 0 is text alone."
    )
    expected_content: float = Field(
        default=0.5, ge=0, description="Weight of what a kernel expects people to write, beside the image's vector."
    )
    guidance: float = Field(default=0.15, ge=0, description="See `CaptionerConfig`.")
    noise: float = Field(default=0.5, ge=0, description="Length of the random vector that is added to the content.")
    open_share: float = Field(default=0.5, ge=0, le=1, description="How often the structure is left open.")
    texts: int = Field(default=67_000, ge=0, description="At most so many captions without photographs are learned.")
    texts_minimum_count: int = Field(default=12, ge=1, description="As minimum_count, for words of these alone.")
    wide_steps: int = Field(default=2_200, ge=0, description="Steps on photographs, texts and things together.")
    wide_learning_rate: float = Field(default=1.5e-3, gt=0)
    wide_photographs: tuple[float, float] = Field(
        default=(0.5, 0.82),
        description="Share of photographs' captions in these steps, and in the last quarter of them.",
    )
    wide_image_share: tuple[float, float] = Field(default=(0.65, 0.8), description="As image_share, likewise.")
    reward_steps: int = Field(default=0, ge=0, description="Steps of self-critical training after that.")
    reward_images: int = Field(default=48, ge=1, description="Images in one of these steps.")
    reward_samples: int = Field(default=5, ge=2, description="Captions that are sampled for each.")
    reward_learning_rate: float = Field(default=3e-4, gt=0)
    diversity: float = Field(
        default=30.0,
        ge=0,
        description="What a share of new words is worth, behind the first caption.",
    )
    plain_below: float = Field(default=0.02, ge=0, le=1, description="See `CaptionerConfig`.")
    plain_unfamiliar: float = Field(default=0.1, ge=0, le=1, description="See `CaptionerConfig`.")
    unfamiliar_share: float = Field(
        default=0.015, ge=0, le=1, description="Share of development photographs that count as unfamiliar."
    )
    structures: int = Field(default=400, ge=1, description="How many of the most frequent structures are kept.")
