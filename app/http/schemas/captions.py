"""Captions of images."""

from __future__ import annotations

from pydantic import Field

from app.addresses import MAX_URL_LENGTH
from app.http.schemas.base import EXAMPLE_ID, Input, Output, PlainText
from app.results import CaptionMode, CaptionOptions, Strategy
from index import CaptionOrigin

MAX_CAPTIONS = 50
"""Most captions of one image."""


class CaptionParameters(Input):
    """How to caption."""

    n: int = Field(5, ge=1, le=MAX_CAPTIONS, description="How many captions.", examples=[5])
    mode: CaptionMode | None = Field(
        None,
        description="retrieve: the nearest sentences of the library; generate: new ones, by the captioner of "
        "the bundle. Without it: generate when the bundle has a captioner, else retrieve.",
        examples=["retrieve"],
    )
    strategy: Strategy = Field("beam", description="How to generate: beam search or sampling.", examples=["beam"])
    structure: PlainText | None = Field(
        None,
        description="An example sentence whose parts of speech generated captions have, or these themselves, as "
        "tags of the Penn Treebank between spaces: `DT NN VBZ IN DT NN`.",
        examples=["a man in a red shirt rides a horse"],
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="Makes sampling repeatable.", examples=[20250601])

    def options(self) -> CaptionOptions:
        """These parameters for `Service.captions`."""
        return CaptionOptions(self.n, self.mode, self.strategy, self.structure, self.seed)


class CaptionBody(CaptionParameters):
    """An image to caption: a stored one, or one that is fetched."""

    image_id: str | None = Field(
        None, min_length=1, max_length=128, description="A stored image.", examples=[EXAMPLE_ID]
    )
    url: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_URL_LENGTH,
        description="Instead of image_id: an http or https address of the public internet. Only with VISEM_FETCH=on.",
        examples=[None],
    )


class Caption(Output):
    """A description of an image."""

    text: str = Field(
        description="The caption: what was written, in lower case and without a full stop, or the stored sentence.",
        examples=["a dog runs along the beach"],
    )
    sentence: str = Field(
        description="The same to be shown to people: a written caption with a capital and a full stop.",
        examples=["A dog runs along the beach."],
    )
    score: float = Field(description="What captions are ranked by: higher is better.", examples=[0.51])
    similarity: float = Field(description="Cosine of the caption and the image.", examples=[0.51])
    fluency: float | None = Field(
        description="Log-probability per word by a trigram model; null for retrieved captions.",
        examples=[None],
    )
    structure: list[str] | None = Field(
        description="Parts of speech of its words; null for retrieved captions.", examples=[None]
    )
    confidence: float | None = Field(
        description="How likely a generated caption fits, from 0 to 1: low where the image is like nothing that "
        "the captioner learned from. null for retrieved captions.",
        examples=[None],
    )
    sentence_id: str | None = Field(
        description="The stored sentence, when retrieved; null when generated.", examples=[EXAMPLE_ID]
    )


class CaptionAnswer(Output):
    """Captions of an image, best first."""

    mode: CaptionMode = Field(description="How they came about.", examples=["retrieve"])
    captions: list[Caption] = Field(description="The captions, best first.", examples=[[]])


class OwnCaptions(Input):
    """What people say that an image shows."""

    captions: list[PlainText] = Field(
        description="All of people's own captions of the image, in their order.",
        examples=[["A dog runs along the beach.", "Our dog on holiday."]],
    )


class StoredCaption(Output):
    """A sentence of the library that is a caption of an image."""

    text: str = Field(description="The caption, as the sentence is stored.", examples=["A dog runs along the beach."])
    sentence: str = Field(
        description="The same to be shown to people: one that the captioner wrote has a capital and a full stop.",
        examples=["A dog runs along the beach."],
    )
    sentence_id: str = Field(description="The stored sentence.", examples=[EXAMPLE_ID])
    origin: CaptionOrigin = Field(
        description="captioner: the captioner of a bundle wrote it; user: people set it.", examples=["user"]
    )
    score: float | None = Field(
        description="What the captioner ranked it by when it wrote it; null for people's own.", examples=[None]
    )


class ImageCaptions(Output):
    """The stored captions of an image."""

    captions: list[StoredCaption] = Field(
        description="People's own in their order, then those of the captioner, best first.", examples=[[]]
    )
