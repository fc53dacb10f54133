"""A map as a picture: thumbnails and words at their places."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.maps.projection import Map

SIZE = (1600, 1200)
"""Width and height of the picture in pixels."""
THUMBNAIL = 72
"""Longer side of an image on it, in pixels."""
_MARGIN = 80
_FONT_SIZE = 22
_PAPER, _INK, _LABEL = (250, 250, 248), (20, 20, 20), (255, 236, 170)


def paint(drawn: Map, thumbnail: Callable[[str], bytes | None]) -> Image.Image:
    """Images first, words over them. `thumbnail` gives the bytes of a small version, None if there is none any more."""
    canvas = Image.new("RGB", SIZE, _PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT_SIZE)
    pixels = _pixels(drawn.places)
    for image_id, (x, y) in zip(drawn.images.ids, pixels[len(drawn.words) :], strict=True):
        data = thumbnail(image_id)
        if data is not None:
            small = Image.open(io.BytesIO(data)).convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            canvas.paste(small, (x - small.width // 2, y - small.height // 2))
    for word, (x, y) in zip(drawn.words, pixels[: len(drawn.words)], strict=True):
        box = draw.textbbox((x, y), word, font=font, anchor="mm")
        draw.rectangle((box[0] - 5, box[1] - 4, box[2] + 5, box[3] + 4), fill=_LABEL, outline=_INK)
        draw.text((x, y), word, fill=_INK, font=font, anchor="mm")
    return canvas


def _pixels(places: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Places (n, 2) in pixels: each axis fills the picture but for a margin; y points upwards."""
    if not len(places):
        return []
    upright = places * (1, -1)
    low, high = upright.min(axis=0), upright.max(axis=0)
    room = np.array(SIZE) - 2 * _MARGIN
    unit = (upright - low) / np.where(high > low, high - low, 1.0)
    unit[:, high <= low] = 0.5
    return [(int(x), int(y)) for x, y in _MARGIN + unit * room]
