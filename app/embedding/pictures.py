"""Bytes of clients to pictures of a bounded size, the same way for everything that embeds one."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from index import render_thumbnail
from model.images.limits import ImageLimits
from model.images.reduction import Reduction
from model.images.types import DecodedImage

WORKING_SIDE = 640
"""The shorter side that a picture keeps: twice a thumbnail's, and well above what any backbone looks at."""

WORKING_PIXELS = 8_000_000
"""Most pixels kept, which matters for panoramas. With it a batch of pictures cannot exhaust the memory."""

ACCEPTED_BEFORE = ImageLimits(max_bytes=sys.maxsize, max_pixels=sys.maxsize, min_side=1)
"""Stored images were within the limits of their time, which may have been others."""

SMALL = ImageLimits(max_bytes=1 << 20, max_pixels=4_000_000, min_side=1)
"""Well above what images have of which no thumbnail is kept: whatever a file is by now, decoding it costs little."""

Decode = Callable[[bytes, ImageLimits, Reduction], DecodedImage]
"""Decodes and reduces, in a process that can be stopped (`Decoders.decode`)."""

_WORKING = Reduction(shorter=WORKING_SIDE, pixels=WORKING_PIXELS)


def load_picture(data: bytes, limits: ImageLimits, decode: Decode) -> DecodedImage:
    """Decode an image and reduce it to working size; `width` and `height` remain the original's.

    Searching, ingestion and re-indexing all come through here, so that one file always has one vector.
    ImageError for bytes that are not accepted.
    """
    return decode(data, limits, _WORKING)


def load_thumbnail(data: bytes, limits: ImageLimits, decode: Decode) -> bytes:
    """The thumbnail (JPEG) of an image file, without its metadata; errors as `load_picture`."""
    return render_thumbnail(load_picture(data, limits, decode).image)


def load_jpeg(data: bytes, limits: ImageLimits, side: int, decode: Decode) -> bytes:
    """An image file as a JPEG of at most `side` pixels a side, without its metadata; errors as `load_picture`."""
    image = decode(data, limits, Reduction(longer=side)).image
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
