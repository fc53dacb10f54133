"""Stored images and sentences, and pages of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.http.schemas.base import EXAMPLE_ID, EXAMPLE_METADATA, Output


class Concept(Output):
    """A word for what an image shows."""

    word: str = Field(description="One word, or the name of a thing in several.", examples=["beach"])
    score: float = Field(
        description="Probability that a person who describes the image says the word.", examples=[0.82]
    )


class Place(Output):
    """Where a photograph was taken."""

    latitude: float = Field(description="In degrees, north positive.", examples=[52.52])
    longitude: float = Field(description="In degrees, east positive.", examples=[13.405])


class Image(Output):
    """A stored image."""

    kind: Literal["image"] = Field("image", description="What this record is.", examples=["image"])
    id: str = Field(description="Stable id, as in image:ID in expressions.", examples=[EXAMPLE_ID])
    filename: str | None = Field(
        description="What the client called the file. For display only.", examples=["beach.jpg"]
    )
    media_type: str = Field(description="Detected from the content.", examples=["image/jpeg"])
    width: int = Field(description="Width of the upright image in pixels.", examples=[1024])
    height: int = Field(description="Height of the upright image in pixels.", examples=[768])
    size: int = Field(description="Size of the file in bytes.", examples=[182_044])
    sha256: str = Field(description="SHA-256 of the file, in hexadecimal.", examples=["9f86d081884c7d65" * 4])
    created_at: datetime = Field(description="When it was stored, in UTC.", examples=["2025-06-01T12:00:00Z"])
    metadata: dict[str, Any] = Field(description="What the client said about it.", examples=[EXAMPLE_METADATA])
    content_url: str = Field(description="Path of the file.", examples=[f"/v1/images/{EXAMPLE_ID}/content"])
    thumbnail_url: str = Field(
        description="Path of a small JPEG version.", examples=[f"/v1/images/{EXAMPLE_ID}/thumbnail"]
    )
    concepts: list[Concept] = Field(
        description="The words nearest to the image, best first.",
        examples=[[{"word": "beach", "score": 0.42}]],
    )
    taken: str | None = Field(
        None,
        description="When it was taken, as its file says: the time on the clock of the place, in ISO 8601, with an "
        "offset where that is known. Null where the file does not say; it is never the time of the file.",
        examples=["2024-05-01T10:30:15+02:00"],
    )
    camera: str | None = Field(None, description="Maker and model of the camera.", examples=["Canon EOS R5"])
    lens: str | None = Field(None, description="The lens.", examples=["RF 50mm F1.2L USM"])
    place: Place | None = Field(
        None, description="Where it was taken.", examples=[{"latitude": 52.52, "longitude": 13.405}]
    )
    orientation: int | None = Field(
        None, description="How the file has to be turned to stand upright: EXIF, 1 to 8.", examples=[6]
    )
    title: str | None = Field(None, description="The title in the file.", examples=["The gate"])
    keywords: list[str] = Field([], description="The keywords in the file.", examples=[["Berlin", "gate"]])


class Sentence(Output):
    """A stored sentence."""

    kind: Literal["sentence"] = Field("sentence", description="What this record is.", examples=["sentence"])
    id: str = Field(description="Stable id, as in sentence:ID in expressions.", examples=[EXAMPLE_ID])
    text: str = Field(description="The sentence.", examples=["A dog runs along the beach."])
    created_at: datetime = Field(description="When it was stored, in UTC.", examples=["2025-06-01T12:00:00Z"])
    metadata: dict[str, Any] = Field(description="What the client said about it.", examples=[EXAMPLE_METADATA])


class ImagePage(Output):
    """A page of images, newest first."""

    items: list[Image] = Field(description="The images of this page.", examples=[[]])
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.", examples=["eyJrIjoyfQ"])
    total: int = Field(description="How many images match, on all pages.", examples=[1234])


class SentencePage(Output):
    """A page of sentences, newest first."""

    items: list[Sentence] = Field(description="The sentences of this page.", examples=[[]])
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.", examples=["eyJrIjoyfQ"])
    total: int = Field(description="How many sentences match, on all pages.", examples=[1234])
