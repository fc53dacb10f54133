"""What the file of a photograph says about it: when, where and with what it was taken, its title and keywords.

EXIF (CIPA DC-008) and IPTC-IIM are read by Pillow, XMP (ISO 16684-1) by defusedxml. Whatever is wrong with any of them
is no reason to refuse a picture: what cannot be read is not said.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageFile, IptcImagePlugin

from model.errors import ImageError
from model.images import exif, jpeg, png
from model.images.cameras import camera_name, lens_name
from model.images.exif import Exif
from model.images.formats import Container, identify
from model.images.one_line import one_line
from model.images.types import PhotoFacts
from model.images.xmp import Xmp

MAX_BLOCK = 1024 * 1024
"""Bytes of XMP or IPTC that are looked at. Cameras and editors write some kilobytes."""

MAX_KEYWORDS = 100
"""Keywords of one photograph that are kept."""

_MAX_TITLE, _MAX_KEYWORD = 500, 100  # characters
_IPTC_TITLE, _IPTC_KEYWORDS = (2, 5), (2, 25)
_RAF_PREVIEW = slice(84, 92)  # of Fujifilm raw: where its JPEG is, and how long


@dataclass
class _Blocks:
    """The parts of a file that speak of the photograph, as far as they are there."""

    exif: Exif
    xmp: Xmp
    iptc: dict[tuple[int, int], list[bytes]]


def read_facts(data: bytes) -> PhotoFacts:
    """Read what a file says, whatever it is; nothing of its pixels is decoded. Never raises `ImageError`.

    Files can be made that take long to read: whoever does not know where they come from bounds the time.
    """
    blocks = _blocks(data)
    told, xmp = blocks.exif, blocks.xmp
    keywords = [*xmp.keywords(), *map(_text, blocks.iptc.get(_IPTC_KEYWORDS, ())), *told.windows_keywords()]
    titles = [xmp.title(), *map(_text, blocks.iptc.get(_IPTC_TITLE, ())), told.windows_title()]
    return PhotoFacts(
        taken=told.taken() or xmp.taken() or told.gps_time(),
        camera=camera_name(told.make or xmp.make(), told.model or xmp.model()),
        lens=lens_name(told.lens or xmp.lens()),
        place=told.place() or xmp.place(),
        orientation=told.orientation(),
        title=next((title for one in titles if (title := one_line(one, _MAX_TITLE))), None),
        keywords=tuple(_without_repeats(keywords))[:MAX_KEYWORDS],
    )


def _without_repeats(keywords: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for one in keywords:
        keyword = one_line(one, _MAX_KEYWORD)
        if keyword and keyword.casefold() not in seen:
            seen.add(keyword.casefold())
            yield keyword


def _blocks(data: bytes) -> _Blocks:
    try:
        container = identify(data)
    except ImageError:
        return _Blocks(Exif(b""), Xmp(b""), {})
    if container.name == "camera raw":
        return _raw_blocks(data)
    if container.name == "JPEG XL":  # opening one decodes it
        boxes = dict(_boxes(data))
        return _Blocks(Exif(boxes.get(b"Exif", b"")[4:]), Xmp(boxes.get(b"xml ", b"")[:MAX_BLOCK]), {})
    with contextlib.suppress(Exception):  # Pillow's plugins raise nearly anything on damaged files
        return _opened_blocks(data, container)
    return _Blocks(Exif(b""), Xmp(b""), {})


def _opened_blocks(data: bytes, container: Container) -> _Blocks:
    """The blocks of a file that Pillow opens."""
    if container.name == "JPEG":
        jpeg.check_segments(data)
    image = container.open(io.BytesIO(png.picture_chunks(data) if container.name == "PNG" else data))
    block = image.info.get("exif", b"")
    if not block and "Raw profile type exif" in image.info:  # of PNG, by ImageMagick
        block = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
    xmp = image.info.get("xmp", b"")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return _Blocks(Exif(data if container.name == "TIFF" else block), Xmp(xmp[:MAX_BLOCK]), _iptc(image))


def _raw_blocks(data: bytes) -> _Blocks:
    """The EXIF of camera raw: most are TIFF by another name; Fujifilm has a JPEG in front, Canon's CR3 has boxes."""
    if data.startswith(b"FUJIFILMCCD-RAW"):
        start, length = (int.from_bytes(data[_RAF_PREVIEW][at : at + 4], "big") for at in (0, 4))
        preview = data[start : start + length]
        return _blocks(preview) if preview.startswith(b"\xff\xd8\xff") else _Blocks(Exif(b""), Xmp(b""), {})
    if data[4:8] == b"ftyp":
        return _Blocks(exif.of_parts(dict(_canon_parts(data))), Xmp(b""), {})
    order = b"II*\x00" if data[:2] == b"II" else b"MM\x00*"
    return _Blocks(Exif(order + data[4:] if data[2:4] not in (b"+\x00", b"\x00+") else data), Xmp(b""), {})


def _canon_parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The TIFF structures of a CR3 by their names: CMT1 is the main directory, CMT2 that of EXIF, CMT4 that of GPS."""
    for found in re.finditer(rb"CMT[124]", data[: 64 * 1024]):
        size = int.from_bytes(data[found.start() - 4 : found.start()], "big")
        yield found[0], data[found.end() : found.start() - 4 + size]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a JPEG XL container (ISO/IEC 18181-2) with what they hold."""
    position = 0
    while position + 8 <= len(data):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = position + (16 if size == 1 else 8)
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        end = len(data) if size == 0 else position + size
        if end <= position:
            return
        yield kind, data[body:end]
        position = end


def _iptc(image: ImageFile.ImageFile) -> dict[tuple[int, int], list[bytes]]:
    with contextlib.suppress(Exception):  # as above
        found = IptcImagePlugin.getiptcinfo(image) or {}
        return {tag: value if isinstance(value, list) else [value] for tag, value in found.items() if value}
    return {}


def _text(data: bytes) -> str:
    """Text of IPTC, which is UTF-8 today, and was of Windows' Western Europe before, whatever it says."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
