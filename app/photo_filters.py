"""What people ask for of photographs: times, cameras and places as text, for HTTP, command line and pages alike."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime

from index import Near, PhotoFilter

MAX_CAMERA = 100
"""Most characters of the name of a camera."""

SINCE = "Taken then or later."
UNTIL = "Taken earlier than that."
TAKEN = (
    "A date such as 2024, 2024-05 or 2024-05-01, or a time such as 2024-05-01T10:30. Without an offset it is compared "
    "with the clock of the place. With one (2024-05-01T10:30+02:00, in a URL %2B02:00) it is a moment, and photographs "
    "whose offset is not known are taken to have the same."
)
CAMERA = "A part of the name of the camera, such as canon or iPhone 12, in capitals or not."
NEAR = "Taken near a place: latitude, longitude and kilometres, with commas between, as in 52.52,13.405,5."

_FARTHEST = 20_040.0  # kilometres: half way round the earth
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d{2}:?\d{2})?")


def parse_moment(text: str) -> datetime:
    """The first moment of a year, month or day, or a time; ValueError."""
    text = text.strip()
    if found := _DATE.fullmatch(text):
        year, month, day = (int(part or 1) for part in found.groups())
        return datetime(year, month, day)
    if text.isascii() and _TIME.fullmatch(text):
        return datetime.fromisoformat(text.upper())
    raise ValueError(
        "must be a date (2024, 2024-05, 2024-05-01) or a time (2024-05-01T10:30, with an offset or without)"
    )


def parse_near(text: str) -> Near:
    """A place and a distance; ValueError."""
    try:
        latitude, longitude, kilometres = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("must be latitude,longitude,kilometres, as in 52.52,13.405,5") from None
    if not (math.isfinite(latitude) and abs(latitude) <= 90):
        raise ValueError("the latitude must lie between -90 and 90")
    if not (math.isfinite(longitude) and abs(longitude) <= 180):
        raise ValueError("the longitude must lie between -180 and 180")
    if not 0 < kilometres <= _FARTHEST:
        raise ValueError(f"the distance must be more than 0 and at most {_FARTHEST:,.0f} kilometres")
    return Near(latitude, longitude, kilometres)


def parse_camera(text: str) -> str:
    """A part of the name of a camera; ValueError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= MAX_CAMERA or not name.isprintable():
        raise ValueError(f"must have 1 to {MAX_CAMERA} characters")
    return name


PARSERS = {
    "taken_after": parse_moment,
    "taken_before": parse_moment,
    "camera": parse_camera,
    "near": parse_near,
}
"""How each field of a `PhotoFilter` is read, by its name everywhere."""


def photo_filter(**texts: str | None) -> PhotoFilter:
    """The filter that these texts ask for, by the names of `PARSERS`; FilterError names the one that cannot be read."""
    fields = {}
    for name, text in texts.items():
        if text is None:
            continue
        try:
            fields[name] = PARSERS[name](text)
        except (ValueError, OverflowError) as error:
            raise FilterError(name, str(error)) from None
    return PhotoFilter(**fields)  # type: ignore[arg-type]  # each parser makes what its field holds


class FilterError(ValueError):
    """A filter that cannot be read: `field` says which, and the message why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.field, str(self))
