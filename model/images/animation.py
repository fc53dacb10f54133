"""The first frame of an animation that shows something."""

from __future__ import annotations

import contextlib

from PIL import Image, ImageFile

from model.images import tiff
from model.images.colours import to_rgb
from model.images.limits import ImageLimits

MAX_FRAMES = 24
"""Frames that are looked at: about a second of most animations."""

_FLAT = 8
"""Levels of 255 within which all pixels of a blank frame lie; lossy formats do not keep them equal."""


def first_shown(image: ImageFile.ImageFile, limits: ImageLimits) -> Image.Image:
    """The loaded frame as `to_rgb` gives it, or, where it is blank, the first of the next ones which is not.

    All frames looked at have no more pixels together than one picture may have.
    """
    first = to_rgb(image)
    if not getattr(image, "is_animated", False) or not _is_blank(first):
        return first
    frames = min(MAX_FRAMES, limits.max_pixels // (image.width * image.height))
    with contextlib.suppress(Exception):  # Damage in later frames is no reason to refuse: EOFError and many others.
        for number in range(1, frames):
            image.seek(number)
            tiff.correct_reading(image)
            image.load()
            frame = to_rgb(image)
            if frame.size == first.size and not _is_blank(frame):
                return frame
    return first


def _is_blank(picture: Image.Image) -> bool:
    return all(high - low <= _FLAT for low, high in (band.getextrema() for band in picture.split()))  # type: ignore[operator]
