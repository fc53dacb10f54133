"""What a file says about the photograph in it, and how images are chosen and ordered by that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple


class Place(NamedTuple):
    """Where a photograph was taken: degrees, north and east positive."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class PhotoFacts:
    """What the file of a photograph says about it; None and empty for what it does not say.

    `taken` is the time on the clock of the place, to the microsecond, with its offset from UTC where that is known.
    `camera` is maker and model, `orientation` the number of EXIF (1 to 8): how the stored pixels are turned to stand
    upright.
    """

    taken: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    place: Place | None = None
    orientation: int | None = None
    title: str | None = None
    keywords: tuple[str, ...] = ()


NO_FACTS = PhotoFacts()
"""A file that says nothing."""


@dataclass(frozen=True)
class Near:
    """Places within so many kilometres of one, on a sphere."""

    latitude: float
    longitude: float
    kilometres: float


@dataclass(frozen=True)
class PhotoFilter:
    """What an image must be as a photograph: all that is given. Nothing is known of sentences.

    `taken_after` is the first moment that counts and `taken_before` the first that does not. Without an offset they are
    compared with the clock of the place; with one they are moments, and photographs without an offset are taken to have
    the same. `camera` is a part of its name, in capitals or not.
    """

    taken_after: datetime | None = None
    taken_before: datetime | None = None
    camera: str | None = None
    near: Near | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every image will do."""
        return self == ANY_PHOTO


ANY_PHOTO = PhotoFilter()
"""Demands nothing."""


@dataclass(frozen=True)
class Order:
    """In what order images are listed: by when they were `added` or `taken`, the latest first unless `ascending`.

    Those of which it is not known when they were taken come last in either direction, ordered by when they were added.
    """

    by: Literal["added", "taken"] = "added"
    ascending: bool = False


NEWEST_FIRST = Order()
"""The order that lists have unless another one is asked for."""


@dataclass(frozen=True)
class Month:
    """A month, and how many photographs were taken in it."""

    year: int
    month: int
    count: int
