"""Picture file formats, told by their first bytes; what their headers say before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from model.errors import ImageError

FormatName = Literal["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"]

_MAGIC: tuple[tuple[bytes, FormatName, str], ...] = (
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "image/png"),
    (b"GIF87a", "GIF", "image/gif"),
    (b"GIF89a", "GIF", "image/gif"),
    (b"BM", "BMP", "image/bmp"),
    (b"II*\x00", "TIFF", "image/tiff"),
    (b"MM\x00*", "TIFF", "image/tiff"),
    (b"II+\x00", "TIFF", "image/tiff"),
    (b"MM\x00+", "TIFF", "image/tiff"),
)
_PLUGINS: dict[FormatName, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,  # Also of MPO, the two-picture JPEG of phones: its first picture.
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
# Formats that Pillow may have been built without, and what it calls them.
_OPTIONAL_CODECS: dict[FormatName, str] = {"WebP": "webp", "AVIF": "avif"}

# Brands of the ISO base media file format (ISO/IEC 23008-12 for HEIF, the AVIF specification of AOMedia).
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})

# Worth naming, so that nobody is told that a good file is broken.
_UNSUPPORTED_MAGIC = (
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"\x00\x00\x01\x00", "icon (ICO)"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"<svg", "SVG"),
)
_END_MARKERS: dict[FormatName, bytes] = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}


@dataclass(frozen=True)
class Container:
    """A file format we read: its name for people and its media type."""

    name: FormatName
    media_type: str

    def open(self, file: BinaryIO) -> ImageFile.ImageFile:
        """Read the header of a file of this format. Raises whatever the plugin raises on bad data.

        Raises `ImageError` (image_format_unsupported) if the decoder is not installed.
        """
        if self.name == "HEIC":
            return _open_heic(file)
        codec = _OPTIONAL_CODECS.get(self.name)
        if codec is not None and not features.check(codec):
            raise ImageError(
                "image_format_unsupported",
                f"This installation of Pillow was built without {self.name}. "
                "Install Pillow from its wheels, or convert the picture to JPEG or PNG.",
            )
        return _PLUGINS[self.name](file)


def identify(data: bytes) -> Container:
    """Tell the format by content.

    Raises `ImageError`: image_format_unsupported for known formats that we do not read, image_unreadable for
    anything that is no picture.
    """
    for magic, name, media_type in _MAGIC:
        if data.startswith(magic):
            return Container(name, media_type)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container("WebP", "image/webp")
    if data[4:8] == b"ftyp":
        return _identify_by_brand(data)
    for magic, description in _UNSUPPORTED_MAGIC:
        if data.startswith(magic):
            raise _unsupported(description)
    raise ImageError(
        "image_unreadable",
        "The file is not a picture, whatever its name says. Send a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.",
    )


def size_before_opening(data: bytes, container: Container) -> tuple[int, int] | None:
    """Width and height by the header of WebP and GIF files, None for others and for damaged headers.

    These two need it: opening WebP allocates its canvas, and opening a GIF makes Pillow warn of large frames.
    """
    try:
        if container.name == "WebP":
            return _webp_size(data)
        if container.name == "GIF":
            return _gif_size(data)
    except (IndexError, struct.error):
        return None  # Cut short within the header; opening it will say so.
    return None


def ends_early(data: bytes, container: Container, image: ImageFile.ImageFile | None) -> bool:
    """Whether a file that could not be decoded is shorter than it says, or lacks its end.

    `image` is the opened header if there is one: a TIFF's directory says where its pixels are.
    """
    if container.name == "WebP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if container.name == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    if container.name in ("AVIF", "HEIC"):
        return _boxes_end(data) > len(data)
    if container.name == "TIFF":
        return _tiff_end(data, image) > len(data)
    return not data.rstrip(b"\x00").endswith(_END_MARKERS[container.name])


def tile_pixels(image: ImageFile.ImageFile) -> int:
    """Pixels of one tile of a tiled TIFF, allocated whatever the picture's own size; 0 for anything else."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    sides = _tag(image, TiffImagePlugin.TILEWIDTH) + _tag(image, TiffImagePlugin.TILELENGTH)
    return sides[0] * sides[1] if len(sides) == 2 else 0


def _tag(image: TiffImagePlugin.TiffImageFile, tag: int) -> tuple[int, ...]:
    """The whole numbers of a TIFF tag; none if it is absent or damaged, which Pillow notices only here."""
    try:
        value = image.tag_v2.get(tag)
    except Exception:  # TypeError, struct.error, ... by the kind of damage.
        return ()
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _identify_by_brand(data: bytes) -> Container:
    box = data[8 : int.from_bytes(data[:4], "big")]
    # Four bytes each: the major brand, its minor version, compatible brands.
    brands = {box[:4], *(box[i : i + 4] for i in range(8, len(box), 4))}
    if brands & _AVIF_BRANDS:
        return Container("AVIF", "image/avif")
    if brands & _HEIC_BRANDS:
        return Container("HEIC", "image/heic")
    if brands & _HEIF_BRANDS:
        return Container("HEIC", "image/heif")
    raise _unsupported("video")


def _unsupported(description: str) -> ImageError:
    return ImageError(
        "image_format_unsupported",
        f"This is a {description} file, which Visem does not read. Convert it to JPEG or PNG.",
    )


def _open_heic(file: BinaryIO) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError(
            "image_format_unsupported",
            "Reading HEIC needs the extra `heic`: pip install 'visem[heic]'. Or convert the picture to JPEG.",
        ) from error
    opener: Callable[[BinaryIO], ImageFile.ImageFile] = HeifImageFile
    return opener(file)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Canvas of the three kinds of WebP (RFC 9649): extended, lossless, lossy."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _gif_size(data: bytes) -> tuple[int, int]:
    """The logical screen, grown where the first frame reaches beyond it as Pillow grows it (GIF89a)."""
    width, height = struct.unpack_from("<HH", data, 6)
    position = 13 + _colour_table_bytes(data[10])
    while data[position] == ord("!"):  # An extension: its label, then blocks until an empty one.
        position += 2
        while data[position]:
            position += 1 + data[position]
        position += 1
    if data[position] == ord(","):
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
        width, height = max(width, left + frame_width), max(height, top + frame_height)
    return width, height


def _colour_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _boxes_end(data: bytes) -> int:
    """Where the outermost boxes of an ISO base media file end, by their own sizes."""
    position = 0
    while position + 16 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:  # A 64-bit size follows the type.
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:  # 0 reaches to the end of the file; anything else is damage.
            return len(data)
        position += size
    return position


def _tiff_end(data: bytes, image: ImageFile.ImageFile | None) -> int:
    """Where the directory of a TIFF ends, or its last strip or tile if the directory could be read."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff_directory_end(data)
    offsets = _tag(image, TiffImagePlugin.STRIPOFFSETS) or _tag(image, TiffImagePlugin.TILEOFFSETS)
    counts = _tag(image, TiffImagePlugin.STRIPBYTECOUNTS) or _tag(image, TiffImagePlugin.TILEBYTECOUNTS)
    return max((offset + count for offset, count in zip(offsets, counts, strict=False)), default=0)


def _tiff_directory_end(data: bytes) -> int:
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
