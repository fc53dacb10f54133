"""Searches and hits."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from app.concepts import split_concepts
from app.http.schemas.base import (
    EXAMPLE_ID,
    MAX_CURSOR_LENGTH,
    MAX_FILTERS,
    MAX_TEXT_LENGTH,
    UNKNOWN,
    Input,
    Output,
    PlainText,
)
from app.http.schemas.records import Image, Sentence
from app.photo_filters import CAMERA, NEAR, PARSERS, SINCE, TAKEN, UNTIL, photo_filter
from app.search.expression import MAX_OPERANDS, MAX_WEIGHT, MIN_WEIGHT, Expression, Operand, Reference, Text
from app.search.results import SearchOptions
from index import Target

MAX_K = 200
"""Most hits of one page."""


class SearchParameters(Input):
    """What every search takes."""

    k: int = Field(10, ge=1, le=MAX_K, description="How many hits a page has at most.", examples=[10])
    target: Target = Field("images", description="What to find: images or sentences.", examples=["images"])
    cursor: str | None = Field(
        None,
        max_length=MAX_CURSOR_LENGTH,
        description="`next_cursor` of the page before; all else must stay the same.",
        examples=["eyJrIjoyfQ"],
    )
    min_score: float | None = Field(None, ge=-1, le=1, description="Leave out hits with a lower score.", examples=[0.2])
    include_query_items: bool = Field(
        False,
        description="Find what the query itself names (image:ID), too. It is left out by default.",
        examples=[False],
    )

    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Leave out hits which are less likely to be right. Of a model with a calibration.",
        examples=[0.1],
    )
    concept: str | None = Field(
        None,
        max_length=MAX_TEXT_LENGTH,
        description="Only images with this word among their concepts; several, with commas between, for all of them.",
        examples=["dog"],
    )
    taken_after: str | None = Field(None, description=f"{SINCE} {TAKEN}", examples=["2024-05-01"])
    taken_before: str | None = Field(None, description=f"{UNTIL} {TAKEN}", examples=["2024-06-01"])
    camera: str | None = Field(None, description=CAMERA, examples=["canon"])
    near: str | None = Field(None, description=NEAR, examples=["52.52,13.405,5"])
    explain: bool = Field(False, description="Say what each operand added to each score.", examples=[False])
    all: bool = Field(
        False,
        description="Find what fits every operand, instead of their sum. Of a model with a calibration.",
        examples=[False],
    )

    @field_validator(*PARSERS)
    @classmethod
    def _readable(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None:
            photo_filter(**{str(info.field_name): text})
        return text

    def options(self, filters: dict[str, str]) -> SearchOptions:
        """These parameters as the search engine takes them."""
        return SearchOptions(
            target=self.target,
            k=self.k,
            cursor=self.cursor,
            min_score=self.min_score,
            filters=filters,
            include_query_items=self.include_query_items,
            min_confidence=self.min_confidence,
            concepts=split_concepts(self.concept),
            photo=photo_filter(**{name: getattr(self, name) for name in PARSERS}),
            explain=self.explain,
            all=self.all,
        )


_Q = (
    "A sentence, or an expression: operators + and - stand between spaces, `2 * red` weighs, double quotes "
    "make a phrase, image:ID and sentence:ID name what is stored."
)


class SearchQuery(SearchParameters):
    """The query parameters of a search."""

    # The filters metadata.KEY come as parameters as well; app.http.dependencies refuses whatever else is unknown.
    model_config = ConfigDict(extra="ignore")

    q: str = Field(
        description=f"{_Q} In a URL, + is written %2B.",
        examples=["a dog runs on the beach", "car - blue + red"],
    )


class ImageSearchForm(SearchParameters):
    """The fields of a search by an uploaded image, beside the image."""

    q: str | None = Field(None, description=f"Added to the image. {_Q}", examples=["- blue + red"])


class SearchTerm(Input):
    """A term of a weighted sum: exactly one of text, image_id and sentence_id."""

    text: PlainText | None = Field(None, description="Words.", examples=["red"])
    image_id: str | None = Field(None, description="A stored image.", examples=[EXAMPLE_ID])
    sentence_id: str | None = Field(None, description="A stored sentence.", examples=[EXAMPLE_ID])
    weight: float = Field(
        1.0,
        ge=-MAX_WEIGHT,
        le=MAX_WEIGHT,
        description=f"Negative to subtract; {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, apart from its sign.",
        examples=[-1.0],
    )

    @model_validator(mode="after")
    def _one_operand(self) -> SearchTerm:
        given = [value for value in (self.text, self.image_id, self.sentence_id) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of text, image_id and sentence_id")
        self.operand()
        return self

    def operand(self) -> Operand:
        """This term as an operand of an expression; ValueError for an impossible id or weight."""
        if self.text is not None:
            return Operand(Text(self.text), self.weight)
        if self.image_id is not None:
            return Operand(Reference("image", self.image_id), self.weight)
        return Operand(Reference("sentence", str(self.sentence_id)), self.weight)


class SearchBody(SearchParameters):
    """A search by a weighted sum. One text alone with a positive weight is a sentence."""

    terms: list[SearchTerm] = Field(
        min_length=1,
        max_length=MAX_OPERANDS,
        description="What to add up.",
        examples=[
            [{"image_id": EXAMPLE_ID}, {"text": "blue", "weight": -1}, {"text": "red"}],
        ],
    )
    filters: dict[str, str | bool | int | float] = Field(
        default_factory=dict,
        max_length=MAX_FILTERS,
        description="Metadata which hits must have: key to value.",
        examples=[{"album": "holiday"}],
    )

    def expression(self) -> Expression:
        """The sum as an expression."""
        return Expression(tuple(term.operand() for term in self.terms))


_SCORE = "Cosine with the query, from -1 to 1; with `all`, the product of the probabilities of its operands."
_CONFIDENCE = (
    "The probability that people who describe the hit would mention all that the query puts in, in a library in which "
    "something answers the query; null when the model has no calibration."
)
_EXPLANATION = (
    "With `explain`: what each operand added; it adds up to the score. With `all`: the cosine with each operand."
)


class Contribution(Output):
    """What one operand of the query added to a score."""

    operand: str = Field(description="The operand as the query names it; image for an upload.", examples=["blue"])
    weight: float = Field(description="Its weight in the query.", examples=[-1.0])
    contribution: float = Field(description="What it added to the score.", examples=[0.12])


class ImageHit(Image):
    """A stored image that was found."""

    score: float = Field(description=_SCORE, examples=[0.37])
    confidence: float | None = Field(None, description=_CONFIDENCE, examples=[0.35])
    explanation: list[Contribution] | None = Field(None, description=_EXPLANATION, examples=[None])


class SentenceHit(Sentence):
    """A stored sentence that was found."""

    score: float = Field(description=_SCORE, examples=[0.37])
    confidence: float | None = Field(None, description=_CONFIDENCE, examples=[0.35])
    explanation: list[Contribution] | None = Field(None, description=_EXPLANATION, examples=[None])


class SearchAnswer(Output):
    """A page of hits, best first."""

    query: str | None = Field(
        description="The expression in canonical form; null when an image is all of it.",
        examples=["car - blue + red"],
    )
    target: Target = Field(description="What was searched.", examples=["images"])
    hits: list[Annotated[ImageHit | SentenceHit, Field(discriminator="kind")]] = Field(
        description="The hits of this page, best first.", examples=[[]]
    )
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.", examples=["eyJrIjoyfQ"])
    unknown_words: list[str] = Field(description=UNKNOWN, examples=[["zyzzyva"]])
    best_confidence: float | None = Field(
        None,
        description="Confidence of the best record on the first page, even when min_score or min_confidence left it "
        "out; null when the model has no calibration.",
        examples=[0.35],
    )
