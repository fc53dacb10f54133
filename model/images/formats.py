"""Picture file formats, told by their first bytes, and the decoder of each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
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

from model.errors import ImageError, how_to_install
from model.images.tiff import is_camera_raw

FormatName = Literal["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "JPEG XL", "camera raw"]

_EXTRAS: Mapping[FormatName, str] = {"JPEG XL": "pillow_jxl", "camera raw": "rawpy"}  # and their modules
READABLE_FORMATS: tuple[FormatName, ...] = (
    *("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"),
    *(name for name, module in _EXTRAS.items() if importlib.util.find_spec(module) is not None),
)
"""Formats that this installation reads."""

READABLE = f"{', '.join(READABLE_FORMATS[:-1])} or {READABLE_FORMATS[-1]}"
"""The same for people."""

_RAW_TYPE = "image/x-dcraw"
_MAGIC: tuple[tuple[bytes, FormatName, str], ...] = (
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "image/png"),
    (b"GIF87a", "GIF", "image/gif"),
    (b"GIF89a", "GIF", "image/gif"),
    (b"BM", "BMP", "image/bmp"),
    (b"\xff\x0a", "JPEG XL", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL", "image/jxl"),
    # Camera raw that is told by its first bytes: Fujifilm, Olympus, Panasonic, Sigma, Minolta.
    (b"FUJIFILMCCD-RAW", "camera raw", _RAW_TYPE),
    (b"IIRO", "camera raw", _RAW_TYPE),
    (b"IIRS", "camera raw", _RAW_TYPE),
    (b"MMOR", "camera raw", _RAW_TYPE),
    (b"IIU\x00", "camera raw", _RAW_TYPE),
    (b"FOVb", "camera raw", _RAW_TYPE),
    (b"\x00MRM", "camera raw", _RAW_TYPE),
)
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
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
_CANON_RAW_BRAND = b"crx "

# Worth naming, so that nobody is told that a good file is broken.
_UNSUPPORTED_MAGIC = (
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"\x00\x00\x01\x00", "icon (ICO)"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"<svg", "SVG"),
)


@dataclass(frozen=True)
class Container:
    """A file format we read: its name for people and its media type."""

    name: FormatName
    media_type: str

    def open(self, file: BinaryIO) -> ImageFile.ImageFile:
        """Read the header of a file of this format, but camera raw. Raises whatever the plugin raises on bad data.

        Raises `ImageError` (image_format_unsupported) if the decoder is not installed.
        """
        if self.name == "HEIC":
            return _open_heic(file)
        if self.name == "JPEG XL":
            return _open_jpeg_xl(file)
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
    if data.startswith(_TIFF_MAGIC):
        raw = data[8:10] == b"CR" or is_camera_raw(data)
        return Container("camera raw", _RAW_TYPE) if raw else Container("TIFF", "image/tiff")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container("WebP", "image/webp")
    if data[4:8] == b"ftyp":
        return _identify_by_brand(data)
    for magic, description in _UNSUPPORTED_MAGIC:
        if data.startswith(magic):
            raise _unsupported(description)
    raise ImageError(
        "image_unreadable",
        f"The file is not a picture, whatever its name says. Send a {READABLE} file.",
    )


def _identify_by_brand(data: bytes) -> Container:
    box = data[8 : int.from_bytes(data[:4], "big")]
    # Four bytes each: the major brand, its minor version, compatible brands.
    brands = {box[:4], *(box[i : i + 4] for i in range(8, min(len(box), 1024), 4))}
    if _CANON_RAW_BRAND in brands:
        return Container("camera raw", _RAW_TYPE)
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
    from pillow_heif import HeifImageFile  # not at the top: it loads a library of codecs

    opener: Callable[[BinaryIO], ImageFile.ImageFile] = HeifImageFile
    return opener(file)


def _open_jpeg_xl(file: BinaryIO) -> ImageFile.ImageFile:
    try:
        from pillow_jxl.JpegXLImagePlugin import JXLImageFile
    except ImportError as error:
        raise ImageError(
            "image_format_unsupported",
            f"Reading JPEG XL needs an extra. {how_to_install('jxl')} Or convert the picture to JPEG.",
        ) from error
    opener: Callable[[BinaryIO], ImageFile.ImageFile] = JXLImageFile
    return opener(file)
