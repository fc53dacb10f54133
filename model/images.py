"""Bytes to an upright 8-bit sRGB picture, within limits.

Untrusted bytes end in one of two ways: a `DecodedImage`, or an `ImageError` whose code and message say why.
The format is told by content and the one fitting Pillow plugin is called directly: `PIL.Image.open` would
apply Pillow's own pixel limit, a process-wide setting, before it tells us how large the picture is.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from model.errors import ImageError
from model.image_formats import Container, ends_early, identify, size_before_opening, tile_pixels

_MEBIBYTE = 1024 * 1024

# EXIF tag 0x0112: how the stored picture has to be turned to stand upright (1, as it is, needs nothing).
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})

# The colour space that an ICC profile must be about to fit a picture of each mode.
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}

# `warnings.catch_warnings` changes process-wide state: one thread at a time may do so.
_warning_filters_lock = threading.Lock()


@dataclass(frozen=True)
class ImageLimits:
    """Bytes of the file and pixels (width x height) at most; pixels of the shorter side at least."""

    max_bytes: int = 50 * _MEBIBYTE
    max_pixels: int = 100_000_000
    min_side: int = 8


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class DecodedImage:
    """A picture that stands upright.

    `image` is 8-bit RGB in sRGB, without metadata (no EXIF, no profile), possibly at a reduced scale.
    `media_type` is told by content ("image/jpeg"). `width` and `height` are the full upright picture's.
    """

    image: Image.Image
    media_type: str
    width: int
    height: int


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS, *, hint_side: int | None = None) -> DecodedImage:
    """Decode the first picture of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file (HEIC: extra `heic`).

    Transparency is laid on white, EXIF orientation applied, colours brought to sRGB, deeper greys to 8 bits.
    With `hint_side`, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its scale, which is faster; its shorter
    side stays at or above `hint_side`. Thread-safe.

    Raises `ImageError`: image_empty, image_unreadable, image_truncated, image_too_small, image_too_large or
    image_format_unsupported. Limits are checked before any pixel is decoded.
    """
    if not data:
        raise ImageError("image_empty", "The file is empty. Send the bytes of a picture.")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "image_too_large",
            f"The file has {_mebibytes(len(data))} MiB; the limit is {_mebibytes(limits.max_bytes)} MiB. "
            "Send a smaller file.",
        )
    container = identify(data)
    early_size = size_before_opening(data, container)
    if early_size is not None:
        _check_size(*early_size, limits)
    image = _open(data, container)
    width, height = image.size
    _check_size(width, height, limits)
    _check_tiles(image, limits)
    if hint_side is not None and container.name == "JPEG":
        image.draft(None, (hint_side, hint_side))
    try:
        with _without_size_warning(max(width * height, tile_pixels(image))):
            image.load()
        orientation = _orientation(image)
        picture = _to_rgb(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data.
        raise _broken(data, container, error, image) from error
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    # What is left here described the stored picture: a thumbnail saved with it would be turned twice, and
    # would tell where the photograph was taken.
    picture.info = {}
    return DecodedImage(picture, container.media_type, width, height)


def _open(data: bytes, container: Container) -> ImageFile.ImageFile:
    """Read the header. No pixels are decoded and no memory is taken for them."""
    try:
        return container.open(io.BytesIO(data))
    except ImageError:
        raise
    except Exception as error:  # As above: SyntaxError, struct.error, KeyError, ... by plugin.
        raise _broken(data, container, error) from error


def _broken(
    data: bytes, container: Container, error: Exception, image: ImageFile.ImageFile | None = None
) -> ImageError:
    """Tell a file that ends too early, which can be sent again, from one with damage inside."""
    if "truncated" in str(error).lower() or ends_early(data, container, image):
        return ImageError(
            "image_truncated",
            f"The {container.name} file ends before its picture does. Send the complete file again.",
        )
    return ImageError(
        "image_unreadable",
        f"The {container.name} file is damaged, or of a kind that cannot be decoded. "
        "Save it anew, as JPEG or PNG, in an image editor.",
    )


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
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


def _check_tiles(image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    if tile_pixels(image) > limits.max_pixels:
        raise ImageError(
            "image_too_large",
            f"The TIFF file has tiles of {tile_pixels(image):,} pixels; the limit is {limits.max_pixels:,}. "
            "Save it anew without tiles, or as JPEG or PNG.",
        )


@contextlib.contextmanager
def _without_size_warning(pixels: int) -> Iterator[None]:
    """Keep Pillow from warning about the size of a picture that our own limits have let through.

    Its threshold is about 89 million pixels: nearly every picture passes here without taking the lock.
    """
    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _warning_filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none or it makes no sense. Ask after loading: TIFF turns itself."""
    with contextlib.suppress(Exception):  # Malformed EXIF is no reason to refuse a good picture.
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        if isinstance(orientation, int):
            return orientation
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit sRGB without transparency, of any mode that the formats can have."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        rgba = _to_srgb(image.convert("RGBA"), profile)
        picture = Image.new("RGB", rgba.size, "white")
        picture.paste(rgba, mask=rgba.getchannel("A"))
        return picture
    if image.mode not in _PROFILE_SPACES:
        image = image.convert("RGB")  # Bilevel, palette, YCbCr, Lab.
    return _to_srgb(image, profile).convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 12, 16 or 32 bits or floating point, to mode L (LA if one grey is declared transparent)."""
    values = np.asarray(image)  # (height, width)
    if image.mode.startswith("I;"):
        bits = 16
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
        grey = (values >> (bits - 8)).astype(np.uint8)
    else:
        grey = _scale_to_eight_bits(values)
    picture = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return picture


def _scale_to_eight_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Scale whole numbers of 32 bits or floats (height, width) to uint8.

    Such files do not say what white is. The smallest customary range that holds all values is taken (0 to 1
    for floats, 8 bits, 16 bits); values beyond all of them are stretched from their minimum to their maximum.
    """
    floats = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(floats.min()), float(floats.max())
    customary = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    fitting = [white for white in customary if low >= 0.0 and high <= white]
    if fitting:
        floats *= 255.0 / fitting[0]
    else:
        # Halved, so that the difference of the largest floats is still a float. A constant is all black.
        floats = (floats / 2 - low / 2) / np.float32(high / 2 - low / 2 or 1.0) * np.float32(255)
    eight_bits: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(floats).astype(np.uint8)
    return eight_bits


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring colours to sRGB if an embedded profile says that they are anything else; keeps an alpha channel.

    A profile that is broken, or about another colour space than the picture's, is ignored as viewers do.
    """
    if not profile:
        return image
    with contextlib.suppress(Exception):  # PyCMSError, OSError, ValueError, ... on bad profiles.
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        fits = source.profile.xcolor_space.strip() == _PROFILE_SPACES[image.mode]
        if fits and "sRGB" not in ImageCms.getProfileDescription(source):
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
            if converted is not None:
                return converted
    return image


def _mebibytes(count: int) -> str:
    return f"{count / _MEBIBYTE:.1f}".removesuffix(".0")
