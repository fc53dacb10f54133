"""Vectors of texts and images."""

from __future__ import annotations

from pydantic import Field

from app.http.schemas.base import UNKNOWN, Input, Output, PlainText


class EmbeddingBody(Input):
    """Texts to embed."""

    texts: list[PlainText] = Field(
        min_length=1,
        description="Sentences, each embedded on its own.",
        examples=[["a dog runs", "a red car"]],
    )


class EmbeddingItem(Output):
    """The vector of one text or file."""

    text: str | None = Field(description="The text; null for files.", examples=["a dog runs"])
    filename: str | None = Field(description="The name of the file; null for texts.", examples=[None])
    vector: list[float] | None = Field(
        description="Unit vector in the joint space; null when there is none.", examples=[[0.6, -0.8]]
    )
    unknown_words: list[str] = Field(description=UNKNOWN, examples=[["zyzzyva"]])
    code: str | None = Field(
        description="Why there is no vector: a code of /problems; null otherwise.",
        examples=["no_known_words"],
    )
    reason: str | None = Field(
        description="Why there is no vector, for people; null otherwise.",
        examples=["The model knows none of these words: 'xqzt'."],
    )


class EmbeddingAnswer(Output):
    """Vectors, in the order of what was sent."""

    space: str = Field(description="Name of the bundle that made the vectors.", examples=["visem-flickr8k-lite2"])
    space_id: str = Field(
        description="Id of the bundle. Vectors of different bundles cannot be compared.",
        examples=["9f86d081884c7d65" * 4],
    )
    dimension: int = Field(description="Length of the vectors.", examples=[1024])
    items: list[EmbeddingItem] = Field(description="One for each text or file, in order.", examples=[[]])
