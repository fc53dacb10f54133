"""Image files that say when, where and with what they were taken."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from tests.app.helpers import picture

BERLIN = {1: "N", 2: (IFDRational(52), IFDRational(312, 10), IFDRational(0)), 3: "E"} | {
    4: (IFDRational(13), IFDRational(243, 10), IFDRational(0))
}


def photograph(
    seed: int,
    taken: str | None = None,
    offset: str | None = None,
    camera: tuple[str, str] | None = None,
    gps: Any = None,
) -> bytes:
    """The picture of a seed, with these facts in its EXIF."""
    exif = Image.Exif()
    if camera is not None:
        exif[0x010F], exif[0x0110] = camera
    if taken is not None:
        exif.get_ifd(0x8769)[0x9003] = taken
    if offset is not None:
        exif.get_ifd(0x8769)[0x9011] = offset
    if gps is not None:
        exif.get_ifd(0x8825).update(gps)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed))).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


FILES = {
    "gate.jpg": photograph(1, "2024:05:01 10:30:15", "+02:00", ("Canon", "Canon EOS R5"), BERLIN),
    "lake.jpg": photograph(2, "2024:05:31 23:59:59", None, ("Apple", "iPhone 12")),
    "snow.jpg": photograph(3, "2023:12:24 18:00:00", "+01:00", ("Canon", "Canon EOS R5")),
    "scan.jpg": picture(4),
}
"""Four photographs of three months; the last one says nothing."""
