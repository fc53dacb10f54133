"""EXIF (CIPA DC-008): the few tags that speak of a photograph. A broken one costs nothing but itself."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from PIL import TiffImagePlugin
from PIL.ExifTags import GPS, IFD, Base

_XP_TITLE, _XP_KEYWORDS = 0x9C9B, 0x9C9E  # of Windows, in UTF-16
_PREFIX = b"Exif\x00\x00"
_FIRST_YEAR = 1826  # of the first photograph; cameras without a clock write 0000
_MAX_OFFSET = timedelta(hours=14)
_TIME = re.compile(
    r"(\d{4})[:./-](\d{2})[:./-](\d{2})[ T](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)? ?(Z|[+-]\d{2}:?\d{2})?"
)
_DATE = re.compile(r"(\d{4})[:./-](\d{2})[:./-](\d{2})")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")

Directory = TiffImagePlugin.ImageFileDirectory_v2


class Exif:
    """The tags of a block of EXIF, or of a TIFF file; of one that cannot be read, none."""

    def __init__(self, block: bytes) -> None:
        block = block.removeprefix(_PREFIX)
        self._main = _directory(block)
        self._exif = _directory(block, self._main, IFD.Exif)
        self._gps = _directory(block, self._main, IFD.GPSInfo)

    @property
    def make(self) -> str | None:
        """The maker of the camera, as it is written."""
        return _text(_value(self._main, Base.Make))

    @property
    def model(self) -> str | None:
        """The model of the camera, as it is written."""
        return _text(_value(self._main, Base.Model))

    @property
    def lens(self) -> str | None:
        """The lens, as it is written."""
        return _text(_value(self._exif, Base.LensModel))

    def orientation(self) -> int | None:
        """How the stored picture has to be turned to stand upright, 1 to 8."""
        value = _first(_value(self._main, Base.Orientation))
        return value if isinstance(value, int) and 1 <= value <= 8 else None

    def taken(self) -> datetime | None:
        """When the photograph was taken, by the clock of the camera."""
        time = parse_time(_text(_value(self._exif, Base.DateTimeOriginal)))
        if time is None:
            return None
        fraction = (_text(_value(self._exif, Base.SubsecTimeOriginal)) or "").strip()
        if time.microsecond == 0 and fraction.isascii() and fraction.isdigit():
            time = time.replace(microsecond=_microseconds(fraction))
        if time.tzinfo is None:
            time = time.replace(tzinfo=_offset(_text(_value(self._exif, Base.OffsetTimeOriginal))))
        return time

    def gps_time(self) -> datetime | None:
        """When the receiver had its position, in UTC: what is left where the camera has no clock."""
        date = _DATE.fullmatch((_text(_value(self._gps, GPS.GPSDateStamp)) or "").strip("\x00 "))
        parts = _numbers(_value(self._gps, GPS.GPSTimeStamp))
        if date is None or len(parts) != 3:
            return None
        with contextlib.suppress(ValueError, OverflowError):
            midnight = datetime(*map(int, date.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]  # three numbers
            hours, minutes, seconds = parts
            passed = timedelta(hours=hours, minutes=minutes, seconds=seconds)
            if midnight.year >= _FIRST_YEAR and timedelta(0) <= passed < timedelta(days=1):
                return midnight + passed
        return None

    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude; None without the letters that say which side of the equator and of Greenwich."""
        latitude = _degrees(self._gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, "NS")
        longitude = _degrees(self._gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, "EW")
        if latitude is None or longitude is None or not is_place(latitude, longitude):
            return None
        return latitude, longitude

    def windows_title(self) -> str | None:
        """The title that Windows writes."""
        return _utf16(_value(self._main, _XP_TITLE))

    def windows_keywords(self) -> list[str]:
        """The keywords that Windows writes."""
        return (_utf16(_value(self._main, _XP_KEYWORDS)) or "").split(";")


def of_parts(parts: Mapping[bytes, bytes]) -> Exif:
    """The tags of Canon's CR3, which has each directory in a structure of its own."""
    found = Exif(parts.get(b"CMT1", b""))
    found._exif = _directory(parts.get(b"CMT2", b""))
    found._gps = _directory(parts.get(b"CMT4", b""))
    return found


def parse_time(text: str | None) -> datetime | None:
    """A time of EXIF or XMP, with its offset if it has one; None for what is none, such as zeros."""
    found = _TIME.fullmatch((text or "").strip("\x00 "))
    if found is None:
        return None
    *numbers, fraction, offset = found.groups()
    with contextlib.suppress(ValueError):
        year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
        microsecond = _microseconds(fraction or "0")
        if year >= _FIRST_YEAR:
            return datetime(year, month, day, hour, minute, second, microsecond, _offset(offset))
    return None


def is_place(latitude: float, longitude: float) -> bool:
    """Whether it is a place on the earth, and not the zeros of a receiver without a position."""
    return abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)


def _directory(block: bytes, main: Directory | None = None, pointer: int | None = None) -> Directory | None:
    """The first directory of a block, or the one that a tag of `main` points to; None if it cannot be read."""
    if block[:2] not in (b"II", b"MM"):
        return None
    with contextlib.suppress(Exception):  # struct.error, KeyError, SyntaxError, ... by the kind of damage
        size = 16 if block[2:4] in (b"+\x00", b"\x00+") else 8
        directory = Directory(block[:size], group=pointer)
        start = directory.next
        if pointer is not None:
            offset = _first(_value(main, pointer))
            if not isinstance(offset, int) or not 0 < offset < len(block):
                return None
            start = offset
        file = io.BytesIO(block)
        file.seek(start)
        directory.load(file)
        return directory
    return None


def _value(directory: Directory | None, tag: int) -> Any:
    """The value of a tag; None if it is absent or damaged."""
    with contextlib.suppress(Exception):  # as above
        if directory is not None and tag in directory:
            return directory[tag]
    return None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _text(value: Any) -> str | None:
    """Text of EXIF: ASCII by the standard, UTF-8 by those who need more."""
    value = _first(value)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return None
    value = value.partition("\x00")[0]
    with contextlib.suppress(UnicodeError):
        return str(value.encode("latin-1").decode())
    return str(value)


def _utf16(value: Any) -> str | None:
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    return value.decode("utf-16-le", "replace").partition("\x00")[0] if isinstance(value, bytes) else None


def _numbers(value: Any) -> list[float]:
    """Rational numbers as floats; none if one of them is none, such as 0/0."""
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        numbers = [float(one) for one in (value if isinstance(value, tuple) else (value,))]
        if all(math.isfinite(number) for number in numbers):
            return numbers
    return []


def _degrees(directory: Directory | None, tag: int, reference: int, letters: str) -> float | None:
    """Degrees, minutes and seconds as degrees, negative for the second letter."""
    numbers = _numbers(_value(directory, tag))
    letter = (_text(_value(directory, reference)) or "").strip().upper()[:1]
    if not 1 <= len(numbers) <= 3 or not letter or letter not in letters or min(numbers) < 0:
        return None
    degrees = math.fsum(number / 60.0**power for power, number in enumerate(numbers))
    return -degrees if letter == letters[1] else degrees


def _offset(text: str | None) -> timezone | None:
    """An offset from UTC; None for none, or for one that no clock has."""
    text = (text or "").strip("\x00 ")
    if text == "Z":
        return UTC
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    if offset > _MAX_OFFSET or int(found[3]) >= 60:
        return None
    return timezone(-offset if found[1] == "-" else offset)


def _microseconds(fraction: str) -> int:
    return int(fraction[:6].ljust(6, "0"))
