"""Greys and colours of more than 8 bits, to 8 bits."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from model.images.tiff import whole_numbers

_WHITE_IS_ZERO = 0
_MAX_SAMPLE_VALUE = 281
_SIGNED = 2
_DEEP = re.compile(r"(?:RGB|RGBX|RGBA|LA|[RGBA]);16([BLN])")
"""What Pillow calls colours of 16 bits a sample, of which it keeps the upper 8: big-endian, little-endian, native."""
_DEEP_GREY_AND_ALPHA = "LA;16B"
"""Of PNG, which Pillow gives as RGBA. Read as RGBA of 8 bits, the four samples are the bytes of grey and alpha."""
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_DIM = 1 / 16
"""Floats whose largest is below this part of white are nearly black: what they call white, they do not say."""


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 12, 16 or 32 bits or floating point, to mode L (LA if one grey is declared transparent)."""
    values = np.asarray(image)  # (height, width)
    inverted = False
    white = 0
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = next(iter(whole_numbers(image, TiffImagePlugin.BITSPERSAMPLE)), bits)
        white = max(whole_numbers(image, _MAX_SAMPLE_VALUE), default=0)
        inverted = whole_numbers(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == (_WHITE_IS_ZERO,)
        signed = whole_numbers(image, TiffImagePlugin.SAMPLEFORMAT) == (_SIGNED,)
        if not white and bits == 16 and signed:
            white = 2**15 - 1
        if image.mode == "I" and not signed:
            values = values.view(np.uint32)  # which Pillow takes for signed
    if image.mode.startswith("I;"):
        grey = _whole_numbers_to_eight_bits(values, bits, white, inverted)
    else:
        grey = _scale_to_eight_bits(values, white)
        if inverted:
            grey = 255 - grey
    picture = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return picture


def has_deep_colours(image: ImageFile.ImageFile) -> bool:
    """Whether a picture whose pixels are not loaded yet has colours of 16 bits a sample."""
    return bool(image.tile) and all(_DEEP.fullmatch(_raw_mode(tile)) for tile in image.tile)


def restore_depth(image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile]) -> None:
    """Brighten loaded colours of 16 bits a sample that use the lower 10 or 12 only, or what their tags say.

    Pillow has thrown away their lower bits. `reopen` gives the picture anew: read with its bytes swapped it has them.
    """
    bands = len(image.getbands())
    white = 0
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white = max(whole_numbers(image, _MAX_SAMPLE_VALUE), default=0)
    if not white:
        brightest = max(int(image.getchannel(band).getextrema()[1]) for band in range(3))  # type: ignore[arg-type]
        white = _white_of(brightest << 8, 16)
    if not 0 < white < 2**16 - 1:
        return
    other = reopen()
    grey = _raw_mode(other.tile[0]) == _DEEP_GREY_AND_ALPHA
    other.tile = [tile._replace(args=_swapped(tile)) for tile in other.tile]
    other.load()
    scaled = np.rint(np.minimum(np.arange(2**16), white) * (255.0 / white)).astype(np.uint8)
    restored = []
    for band in range(bands):
        values = np.asarray(image.getchannel(band)).astype(np.uint16) << 8
        values |= np.asarray(other.getchannel((1, 1, 1, 3)[band] if grey else band))
        restored.append(Image.fromarray(scaled[values]))
    image.paste(Image.merge(image.mode, restored))


def _raw_mode(tile: ImageFile._Tile) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _swapped(tile: ImageFile._Tile) -> Any:
    raw_mode = _raw_mode(tile)
    other = "RGBA" if raw_mode == _DEEP_GREY_AND_ALPHA else raw_mode[:-1] + _SWAPPED[raw_mode[-1]]
    return (other, *tile.args[1:]) if isinstance(tile.args, tuple) else other


def _white_of(largest: int, bits: int) -> int:
    """The white of whole numbers of `bits`, of which some say no more than by their largest how many they use."""
    used = largest.bit_length()
    if bits == 16:
        bits = {9: 10, 10: 10, 11: 12, 12: 12}.get(used, bits)
    return (1 << bits) - 1


def _whole_numbers_to_eight_bits(values: NDArray[Any], bits: int, white: int, inverted: bool) -> NDArray[np.uint8]:
    """Whole numbers of up to 16 bits (height, width) to uint8.

    Cameras and scanners keep 10 or 12 bits in 16 without a word. Seen as 16 bits such a picture is nearly black,
    and so its depth is taken from its largest value, unless `white` says it.
    """
    largest = 2**bits - 1
    if inverted:
        values = largest - values
    if 0 < white < largest:
        scaled: NDArray[np.uint8] = np.rint(np.minimum(values, white) * (255.0 / white)).astype(np.uint8)
        return scaled
    if not white:
        bits = _white_of(int(values.max()), bits).bit_length()
    shifted: NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    return shifted


def _scale_to_eight_bits(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Scale whole numbers of 32 bits or floats (height, width) to uint8.

    Unless `white` is given such files do not say what it is. The smallest customary range that holds all values is
    taken (0 to 1 for floats, 8 bits, 16 bits); values beyond all of them are stretched from their minimum to
    their maximum, and floats that are all nearly black from 0 to their maximum.
    """
    floats: NDArray[np.floating[Any]] = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(floats.min()), float(floats.max())
    customary = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    if white:
        customary = (float(white), *customary)
    fitting = [largest for largest in customary if low >= 0.0 and high <= largest]
    if fitting:
        dim = values.dtype.kind == "f" and 0.0 < high < _DIM * fitting[0]
        floats *= np.float32(255.0 / (high if dim else fitting[0]))
    else:
        # Halved, so that the difference of the largest floats is still a float. A constant is all black.
        floats = (floats / 2 - low / 2) / np.float32(high / 2 - low / 2 or 1.0) * np.float32(255)
    eight_bits: NDArray[np.uint8] = np.rint(floats).astype(np.uint8)
    return eight_bits
