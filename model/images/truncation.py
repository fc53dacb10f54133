"""Whether a damaged file is shorter than it says: then it can be sent again."""

from __future__ import annotations

from PIL import ImageFile

from model.images.formats import Container, FormatName
from model.images.tiff import end_of_pixels

_END_MARKERS: dict[FormatName, bytes] = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}


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
        return end_of_pixels(data, image) > len(data)
    marker = _END_MARKERS.get(container.name)
    return marker is not None and not data.rstrip(b"\x00").endswith(marker)


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
