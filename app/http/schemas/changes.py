"""Adding and changing images and sentences."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from app.http.schemas.base import (
    CODE,
    EXAMPLE_METADATA,
    REASON,
    STATUS,
    UNKNOWN,
    Input,
    Metadata,
    Output,
    PlainText,
)
from app.http.schemas.records import Image, Sentence


class ImageStatus(Output):
    """What became of one file."""

    filename: str | None = Field(description="The name of the file.", examples=["beach.jpg"])
    status: Literal["created", "duplicate", "rejected"] = Field(description=STATUS, examples=["created"])
    image: Image | None = Field(description="The stored image; null when rejected.", examples=[None])
    code: str | None = Field(description=CODE, examples=["image_truncated"])
    reason: str | None = Field(description=REASON, examples=["The image file ends too early."])


class ImagesAdded(Output):
    """A status for each file, in their order."""

    results: list[ImageStatus] = Field(description="One for each file, in order.", examples=[[]])
    created: int = Field(description="How many were stored.", examples=[2])
    duplicates: int = Field(description="How many had been stored before.", examples=[1])
    rejected: int = Field(description="How many were not accepted.", examples=[0])


class ImagePatch(Input):
    """A change to an image."""

    metadata: Metadata = Field(
        description="A JSON merge patch (RFC 7396) for the metadata: given keys are set, null removes a key, "
        "nested objects are merged, all else stays.",
        examples=[{"album": "summer", "year": None}],
    )


class NewSentences(Input):
    """One sentence as `text`, or several as `texts`."""

    text: PlainText | None = Field(None, description="A sentence to store.", examples=["A dog runs along the beach."])
    texts: list[PlainText] | None = Field(
        None,
        min_length=1,
        description="Sentences to store.",
        examples=[["A dog runs.", "Two children play."]],
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Given to every new sentence.", examples=[EXAMPLE_METADATA]
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> NewSentences:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The sentences, whichever way they were given."""
        return [self.text] if self.text is not None else list(self.texts or ())


class SentenceStatus(Output):
    """What became of one sentence."""

    text: str = Field(description="The sentence.", examples=["A dog runs along the beach."])
    status: Literal["created", "duplicate", "rejected"] = Field(description=STATUS, examples=["created"])
    sentence: Sentence | None = Field(description="The stored sentence; null when rejected.", examples=[None])
    unknown_words: list[str] = Field(description=UNKNOWN, examples=[["zyzzyva"]])
    code: str | None = Field(description=CODE, examples=["no_known_words"])
    reason: str | None = Field(description=REASON, examples=["The model knows none of these words: 'xqzt'."])


class SentencesAdded(Output):
    """A status for each sentence, in their order."""

    results: list[SentenceStatus] = Field(description="One for each sentence, in order.", examples=[[]])
    created: int = Field(description="How many were stored.", examples=[2])
    duplicates: int = Field(description="How many had been stored before.", examples=[0])
    rejected: int = Field(description="How many were not accepted.", examples=[0])
