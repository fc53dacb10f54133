"""The part of `bundle.json` that the detectors of concepts have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ConceptsConfig(BaseModel):
    """The detectors' part of `bundle.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: tuple[str, ...] = Field(description="Words that captions say, in the order of the first detector.")
    people: tuple[str, ...] = Field(description="Those of them that mean somebody.")
    calibration: tuple[float, ...] = Field(description="Weights of the curve's inputs, the constant last.")
    names: tuple[str, ...] = Field(description="What each kind of thing is called, in the order of the second.")
    broader: tuple[tuple[str, ...], ...] = Field(description="More general names of each, the nearest first.")
    plain: tuple[str, ...] = Field(description="General names that people say in the place of exact ones.")
    sharpness: float = Field(gt=0, description="Of the softmax over kinds, by deviation.")
    said: tuple[float, float] = Field(description="Slope and constant: how surely the likeliest kind is there.")
    shown: float = Field(gt=0, lt=1, description="Probability from which on a word is shown.")
    shown_thing: float = Field(gt=0, lt=1, description="The same for kinds, where a thing alone has no name yet.")
    thing: float = Field(gt=0, description="Deviation from which on an image without people shows a thing by itself.")
