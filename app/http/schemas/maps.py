"""A map of images and words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.http.schemas.base import EXAMPLE_ID, UNKNOWN, Output


class MapPoint(Output):
    """A place on the map: a word, or a stored image."""

    kind: Literal["word", "image"] = Field(description="What is there.", examples=["image"])
    x: float = Field(description="Along the axis on which they differ most.", examples=[0.21])
    y: float = Field(description="Along the second axis.", examples=[-0.07])
    word: str | None = Field(None, description="The word; null for an image.", examples=[None])
    image_id: str | None = Field(None, description="The image; null for a word.", examples=[EXAMPLE_ID])
    filename: str | None = Field(None, description="The image's file name.", examples=["beach.jpg"])
    thumbnail_url: str | None = Field(
        None, description="Path of a small version of the image.", examples=[f"/v1/images/{EXAMPLE_ID}/thumbnail"]
    )


class MapAnswer(Output):
    """Words first, in the requested order, then images, the newest first."""

    points: list[MapPoint] = Field(description="Everything on the map.", examples=[[]])
    explained_variance: tuple[float, float] = Field(
        description="Share of the variance along each axis, from 0 to 1.", examples=[[0.2, 0.1]]
    )
    total_images: int = Field(description="Images in the library, of which the map shows a sample.", examples=[8000])
    unknown_words: list[str] = Field(description=UNKNOWN, examples=[[]])
