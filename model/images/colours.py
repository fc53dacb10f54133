"""Colours of any profile, mode or transparency, to 8-bit sRGB."""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from model.images.bit_depth import to_eight_bits

# The colour space that an ICC profile must be about to fit a picture of each mode.
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}

_MAX_PROFILE_BYTES = 4 * 1024 * 1024
_CACHED_PROFILE_BYTES = 64 * 1024
_INVISIBLE = 3
"""Levels of 255 by which a profile may differ from sRGB without a conversion: makers round their curves."""


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit sRGB without transparency, of any mode that the formats can have.

    Transparent parts become white. A picture that is transparent everywhere has no transparency: some programs
    write a fourth channel that they never fill.
    """
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = to_eight_bits(image)
    if image.has_transparency_data:
        rgba = _to_srgb(image.convert("RGBA"), profile)
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (0, 0):
            return rgba.convert("RGB")
        picture = Image.new("RGB", rgba.size, "white")
        picture.paste(rgba, mask=alpha)
        return picture
    if image.mode not in _PROFILE_SPACES:
        image = image.convert("RGB")  # Bilevel, palette, YCbCr, Lab.
    return _to_srgb(image, profile).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring colours to sRGB if an embedded profile makes them anything else; keeps an alpha channel.

    A profile that is broken, or about another colour space than the picture's, is ignored as viewers do.
    """
    if not profile or len(profile) > _MAX_PROFILE_BYTES:
        return image
    with contextlib.suppress(Exception):  # PyCMSError, OSError, ValueError, ... on bad profiles.
        changes = _changes if len(profile) <= _CACHED_PROFILE_BYTES else _changes.__wrapped__
        if changes(profile, _PROFILE_SPACES[image.mode]):
            return _convert(image, profile)
    return image


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    return image if converted is None else converted


@lru_cache(maxsize=32)
def _changes(profile: bytes, space: str) -> bool:
    """Whether a profile of this colour space shows anything else than sRGB does, by what it makes of sample colours.

    Its description proves nothing: there are linear profiles called sRGB.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() != space:
        return False
    if space == "CMYK":
        return True
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if space == "GRAY":
        samples = Image.fromarray(levels[None])
    else:
        samples = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))
    before = np.asarray(samples.convert("RGB"), np.int16)
    after = np.asarray(_convert(samples, profile), np.int16)
    return bool(np.abs(after - before).max() > _INVISIBLE)
