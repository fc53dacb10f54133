"""A decoded picture, and what its file says. Without codecs: these are for the processes that decode."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class PhotoFacts:
    """What a file says; None and empty for what it does not say.

    `taken` is the time on the clock of the place, with its offset from UTC where that is known; never that of the file.
    `place` is latitude and longitude in degrees, north and east positive. `orientation` is that of EXIF, 1 to 8.
    """

    taken: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    place: tuple[float, float] | None = None
    orientation: int | None = None
    title: str | None = None
    keywords: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """As JSON can express it."""
        return {**vars(self), "taken": None if self.taken is None else self.taken.isoformat()}

    @classmethod
    def from_document(cls, told: dict[str, Any]) -> Self:
        """Read what `to_document` wrote."""
        return cls(
            **{
                **told,
                "taken": None if told["taken"] is None else datetime.fromisoformat(told["taken"]),
                "place": None if told["place"] is None else tuple(told["place"]),
                "keywords": tuple(told["keywords"]),
            }
        )


@dataclass(frozen=True)
class DecodedImage:
    """A picture that stands upright.

    `image` is 8-bit RGB in sRGB, without metadata (no EXIF, no profile), possibly at a reduced scale.
    `media_type` is told by content ("image/jpeg"). `width` and `height` are the full upright picture's. `facts` are
    what the file says, which only those read who decode in a process of its own (`Decoders`).
    """

    image: Image.Image
    media_type: str
    width: int
    height: int
    facts: PhotoFacts = field(default_factory=PhotoFacts)
