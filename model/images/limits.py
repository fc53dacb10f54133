"""What one file may cost: bytes, pixels and work, all checked before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import ImageError

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ImageLimits:
    """Bytes of the file and pixels (width x height) at most; pixels of the shorter side at least."""

    max_bytes: int = 50 * MEBIBYTE
    max_pixels: int = 100_000_000
    min_side: int = 8


DEFAULT_LIMITS = ImageLimits()


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Raise `ImageError` (image_too_large, image_too_small) for a picture outside the limits."""
    if width * height > limits.max_pixels:
        raise ImageError(
            "image_too_large",
            f"The picture is {width} x {height} pixels, {width * height:,} in all; the limit is "
            f"{limits.max_pixels:,}. Send a smaller version.",
        )
    if min(width, height) < limits.min_side:
        raise ImageError(
            "image_too_small",
            f"The picture is {width} x {height} pixels; each side needs at least {limits.min_side}. "
            "Send a larger version.",
        )


def too_much_work(what: str, count: int, limit: int) -> ImageError:
    """The error for a file that would take too long, though it has few pixels: too many of `what` in it."""
    return ImageError(
        "image_too_large",
        f"The file has {count:,} {what}; the limit is {limit:,}, as more would take too long to decode. "
        "Save it anew, as JPEG or PNG, in an image editor.",
    )
