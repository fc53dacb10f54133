"""TIFF 6.0 and BigTIFF: what the directories say before anything is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageFile, TiffImagePlugin

from model.errors import ImageError
from model.images.limits import ImageLimits, too_much_work

MAX_PIECES = 250_000
"""Strips or tiles of one picture."""

_MAX_DIRECTORIES = 32
_MAX_VALUES = 16  # of the tags that are read here: sub-directories, and the rest have one

_PHOTOMETRIC, _STRIP_OFFSETS, _TILE_OFFSETS, _SUB_DIRECTORIES, _DNG_VERSION = 262, 273, 324, 330, 50706
_BITS, _COMPRESSION, _SAMPLES, _PLANAR, _SAMPLE_FORMAT = 258, 259, 277, 284, 339
_WANTED = frozenset(
    {
        *(_PHOTOMETRIC, _STRIP_OFFSETS, _TILE_OFFSETS, _SUB_DIRECTORIES, _DNG_VERSION),
        *(_BITS, _COMPRESSION, _SAMPLES, _PLANAR, _SAMPLE_FORMAT),
    }
)
_SENSOR_DATA = frozenset({32803, 34892})  # colour filter array, and the same interpolated (TIFF/EP, DNG)
_NUMBERS = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}  # sample formats that are worth naming
_SEPARATE = 2
_NOT_NATIVE = re.compile(r"([IF];\d+)B([SF])")
"""What Pillow calls big-endian numbers, which libtiff gives in the order of the machine."""
_SIZES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True)
class _Tag:
    count: int
    values: tuple[int, ...]


def is_camera_raw(data: bytes) -> bool:
    """Whether it is a DNG, NEF, ARW or similar file: sensor data, whatever previews lie in front of them."""
    for directory in _directories(data):
        photometric = directory.get(_PHOTOMETRIC)
        if _DNG_VERSION in directory or (photometric is not None and _SENSOR_DATA & set(photometric.values)):
            return True
    return False


def check_pieces(data: bytes) -> None:
    """Raise `ImageError` (image_too_large) for a picture in innumerable strips or tiles."""
    for directory in _directories(data):
        for tag in (_STRIP_OFFSETS, _TILE_OFFSETS):
            if tag in directory and directory[tag].count > MAX_PIECES:
                raise too_much_work("strips or tiles", directory[tag].count, MAX_PIECES)
        return  # the first picture is the one that is shown


def check_tiles(image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    """Raise `ImageError` (image_too_large) for tiles beyond the limit of pixels."""
    if tile_pixels(image) > limits.max_pixels:
        raise ImageError(
            "image_too_large",
            f"The TIFF file has tiles of {tile_pixels(image):,} pixels; the limit is {limits.max_pixels:,}. "
            "Save it anew without tiles, or as JPEG or PNG.",
        )


def is_of_unknown_kind(error: Exception) -> bool:
    """Tell whether Pillow refused a TIFF for how its pixels are kept, not for damage."""
    unknown = str(error).startswith(("unknown pixel mode", "unknown raw mode"))
    return unknown or isinstance(error.__cause__, KeyError)


def describe_pixels(data: bytes) -> str:
    """Say how the first picture keeps its pixels: "3 samples of 32 bits, floating point, compression 1"."""
    directory = next(_directories(data), {})
    samples, bits = _first(directory, _SAMPLES), _first(directory, _BITS)
    parts = [f"{samples} {'sample' if samples == 1 else 'samples'} of {bits} {'bit' if bits == 1 else 'bits'}"]
    if (numbers := _NUMBERS.get(_first(directory, _SAMPLE_FORMAT))) is not None:
        parts.append(numbers)
    if _first(directory, _PLANAR) == _SEPARATE:
        parts.append("planar")
    return ", ".join([*parts, f"compression {_first(directory, _COMPRESSION)}"])


def correct_reading(image: ImageFile.ImageFile) -> None:
    """Have the pixels of an opened TIFF read right where Pillow would not.

    Pillow takes the samples of 16 bits in separate planes for 8, unless libtiff reads them. It knows that libtiff
    gives 16 bits in the machine's own order, and forgets about signed and longer numbers.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tiles = [(tile, tile.args) for tile in image.tile if isinstance(tile.args, tuple)]
    if tiles and tiles[0][0].codec_name == "libtiff":
        image.tile = [
            tile._replace(args=("N".join(native.groups()), *args[1:]))
            if (native := _NOT_NATIVE.fullmatch(args[0]))
            else tile
            for tile, args in tiles
        ]
    elif _has_planes_of_sixteen_bits(image):
        tiles = [(tile, args) for tile, args in tiles if args[0].isalpha()]  # the others are samples without a meaning
        planes = "".join(dict.fromkeys(args[0] for _, args in tiles))
        if set(planes) <= {*"RGBA"}:
            order = "L" if image.tag_v2.prefix == b"II" else "B"
            image.tile = [tile._replace(args=(f"{args[0]};16{order}", *args[1:])) for tile, args in tiles]
        else:
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
            by_libtiff = (f"{planes};16N", False, image.tag_v2.offset)
            image.tile = [ImageFile._Tile("libtiff", (0, 0, width, height), 0, by_libtiff)]
            image.use_load_libtiff = True


def _has_planes_of_sixteen_bits(image: TiffImagePlugin.TiffImageFile) -> bool:
    separate = whole_numbers(image, TiffImagePlugin.PLANAR_CONFIGURATION) == (_SEPARATE,)
    return separate and set(whole_numbers(image, TiffImagePlugin.BITSPERSAMPLE)) == {16}


def _first(directory: dict[int, _Tag], tag: int) -> int:
    """The first value of a tag; 1, which is the default of all tags that are asked for, if there is none."""
    found = directory.get(tag)
    return found.values[0] if found is not None and found.values else 1


def tile_pixels(image: ImageFile.ImageFile) -> int:
    """Pixels of one tile of a tiled TIFF, allocated whatever the picture's own size; 0 for anything else."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    sides = whole_numbers(image, TiffImagePlugin.TILEWIDTH) + whole_numbers(image, TiffImagePlugin.TILELENGTH)
    return sides[0] * sides[1] if len(sides) == 2 else 0


def whole_numbers(image: TiffImagePlugin.TiffImageFile, tag: int) -> tuple[int, ...]:
    """The whole numbers of a TIFF tag; none if it is absent or damaged, which Pillow notices only here."""
    try:
        value = image.tag_v2.get(tag)
    except Exception:  # TypeError, struct.error, ... by the kind of damage.
        return ()
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def end_of_pixels(data: bytes, image: ImageFile.ImageFile | None) -> int:
    """Where the directory of a TIFF ends, or its last strip or tile if the directory could be read."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return _directory_end(data)
    offsets = whole_numbers(image, TiffImagePlugin.STRIPOFFSETS) or whole_numbers(image, TiffImagePlugin.TILEOFFSETS)
    counts = whole_numbers(image, TiffImagePlugin.STRIPBYTECOUNTS) or whole_numbers(
        image, TiffImagePlugin.TILEBYTECOUNTS
    )
    return max((offset + count for offset, count in zip(offsets, counts, strict=False)), default=0)


def _directory_end(data: bytes) -> int:
    """Where the first directory ends (TIFF 6.0, section 2); for BigTIFF where its offset does."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\x00", b"\x00+"):
        return 16
    try:
        (directory,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, directory)
    except struct.error:
        return len(data) + 1
    return int(directory) + 2 + 12 * int(entries) + 4


def _directories(data: bytes) -> Iterator[dict[int, _Tag]]:
    """The directories of a file and those below them, as far as they can be read, and not for ever."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    try:
        waiting = list(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4))
        seen: set[int] = set()
        while waiting and len(seen) < _MAX_DIRECTORIES:
            offset = waiting.pop(0)
            if offset == 0 or offset in seen:
                continue
            seen.add(offset)
            directory, following = _directory(data, offset, order, big)
            yield directory
            below = directory.get(_SUB_DIRECTORIES)
            waiting += [following, *(below.values if below is not None else ())]
    except struct.error:
        return


def _directory(data: bytes, offset: int, order: str, big: bool) -> tuple[dict[int, _Tag], int]:
    """The tags of one directory that matter here, and where the next one is; struct.error where the file ends."""
    entry, number = (struct.Struct(order + "HHQ8s"), "Q") if big else (struct.Struct(order + "HHI4s"), "I")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    position = offset + (8 if big else 2)
    if position + count * entry.size > len(data):
        raise struct.error("the directory reaches beyond the file")
    tags: dict[int, _Tag] = {}
    for start in range(position, position + count * entry.size, entry.size):
        tag, kind, many, inline = entry.unpack_from(data, start)
        if tag not in _WANTED or kind not in _SIZES:
            continue
        values = struct.Struct(order + str(min(many, _MAX_VALUES)) + _SIZES[kind])
        unit = struct.calcsize("<" + _SIZES[kind])
        if many * unit <= len(inline):
            tags[tag] = _Tag(many, values.unpack_from(inline))
        else:
            (where,) = struct.unpack(order + number, inline)
            fits = where + values.size <= len(data)
            tags[tag] = _Tag(many, values.unpack_from(data, where) if fits else ())
    (following,) = struct.unpack_from(order + number, data, position + count * entry.size)
    return tags, following
