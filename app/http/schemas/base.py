"""What all schemas share: the two bases, texts and metadata as they come in, and repeated descriptions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from app.metadata import check_metadata

MAX_TEXT_LENGTH = 1_000
MAX_CURSOR_LENGTH = 4_096
MAX_FILTERS = 16

EXAMPLE_ID = "kXq3v9TzR1mWc7Lp"
EXAMPLE_METADATA = {"album": "holiday", "year": 2024}

STATUS = "created, duplicate (the same content was there already) or rejected."
CODE = "Why it was rejected: a code of /problems; null otherwise."
REASON = "Why it was rejected, for people; null otherwise."
UNKNOWN = "Words which the model does not know and has ignored."


def _plain_text(text: str) -> str:
    if not text.strip():
        raise ValueError("must have at least one word")
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


PlainText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH), AfterValidator(_plain_text)]
Metadata = Annotated[dict[str, Any], BeforeValidator(check_metadata)]


class Input(BaseModel):
    """The base of what comes in: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Output(BaseModel):
    """The base of what goes out; made from results of the service by the names of their attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
