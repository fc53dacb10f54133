"""A map as a picture: thumbnails and words at their places."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.maps.projection import Point

SIZE = (1600, 1200)
"""Width and height of the picture in pixels."""
THUMBNAIL = 72
"""Longer side of an image on it, in pixels."""
_MARGIN = 80
_FONT_SIZE = 22
_PAPER, _INK, _LABEL = (250, 250, 248), (20, 20, 20), (255, 236, 170)


def paint(points: Sequence[Point], thumbnail: Callable[[str], bytes | None]) -> Image.Image:
    """Images first, words over them. `thumbnail` gives the bytes of a small version, None if there is none any more."""
    canvas = Image.new("RGB", SIZE, _PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT_SIZE)
    for point, (x, y) in zip(points, _pixels(points), strict=True):
        if point.record is None:
            continue
        data = thumbnail(point.record.id)
        if data is not None:
            small = Image.open(io.BytesIO(data)).convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            canvas.paste(small, (x - small.width // 2, y - small.height // 2))
    for point, (x, y) in zip(points, _pixels(points), strict=True):
        if point.word is not None:
            box = draw.textbbox((x, y), point.word, font=font, anchor="mm")
            draw.rectangle((box[0] - 5, box[1] - 4, box[2] + 5, box[3] + 4), fill=_LABEL, outline=_INK)
            draw.text((x, y), point.word, fill=_INK, font=font, anchor="mm")
    return canvas


def _pixels(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Places in pixels: each axis fills the picture but for a margin; y points upwards."""
    if not points:
        return []
    places = np.array([(point.x, -point.y) for point in points])
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array(SIZE) - 2 * _MARGIN
    unit = (places - low) / np.where(high > low, high - low, 1.0)
    unit[:, high <= low] = 0.5
    return [(int(x), int(y)) for x, y in _MARGIN + unit * room]
