"""Decoded pictures at the size that is needed, so that many of them fit into the memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from model.images.limits import ImageLimits
from model.images.types import DecodedImage


@dataclass(frozen=True)
class Reduction:
    """What is kept of a picture: about `shorter` pixels of its shorter side, or `longer` of its longer one (0: all).

    Pictures are divided by whole numbers, and so keep up to twice that; but never more than `pixels` in all.
    """

    shorter: int = 0
    longer: int = 0
    pixels: int = 100_000_000

    @property
    def hint(self) -> int | None:
        """The shorter side that decoding has to keep."""
        return self.shorter or self.longer or None


def decode_reduced(data: bytes, limits: ImageLimits, reduction: Reduction) -> DecodedImage:
    """Decode a picture as `decode_image` does and leave out pixels; `width` and `height` remain the original's.

    Raises `ImageError`, as there.
    """
    from model.images.decoding import decode_image  # the codecs; those who only ask for a reduction need none

    decoded = decode_image(data, limits, hint_side=reduction.hint)
    width, height = decoded.image.size
    factor = math.ceil(math.sqrt(width * height / reduction.pixels))
    if reduction.shorter:
        factor = max(factor, min(width, height) // reduction.shorter)
    if reduction.longer:
        factor = max(factor, max(width, height) // reduction.longer)
    return decoded if factor <= 1 else replace(decoded, image=decoded.image.reduce(factor))
