"""Bytes of clients to pictures of a bounded size, the same way for everything that embeds one."""

from __future__ import annotations

import io
import math
from dataclasses import replace

from model.images import DecodedImage, ImageLimits, decode_image

WORKING_SIDE = 640
"""The shorter side that a picture keeps: twice a thumbnail's, and well above what any backbone looks at."""

WORKING_PIXELS = 8_000_000
"""Most pixels kept, which matters for panoramas. With it a batch of pictures cannot exhaust the memory."""


def load_picture(data: bytes, limits: ImageLimits) -> DecodedImage:
    """Decode an image and reduce it to working size; `width` and `height` remain the original's.

    Searching, ingestion and re-indexing all come through here, so that one file always has one vector.
    ImageError for bytes that are not accepted.
    """
    decoded = decode_image(data, limits, hint_side=WORKING_SIDE)
    width, height = decoded.image.size
    factor = max(min(width, height) // WORKING_SIDE, math.ceil(math.sqrt(width * height / WORKING_PIXELS)))
    if factor <= 1:
        return decoded
    return replace(decoded, image=decoded.image.reduce(factor))


def load_jpeg(data: bytes, limits: ImageLimits, side: int) -> bytes:
    """An image file as a JPEG of at most `side` pixels a side, without its metadata; errors as `load_picture`."""
    image = decode_image(data, limits, hint_side=side).image
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
