"""XMP (ISO 16684-1): the few properties that speak of a photograph."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from model.images.exif import is_place, parse_time

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_TIFF = "{http://ns.adobe.com/tiff/1.0/}"
_AUX = "{http://ns.adobe.com/exif/1.0/aux/}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_COORDINATE = re.compile(r"(\d{1,3})(?:,(\d{1,2}(?:\.\d+)?))?(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])")


class Xmp:
    """The properties of a packet; of one that cannot be read, none."""

    def __init__(self, packet: bytes) -> None:
        self._descriptions: list[Element] = []
        with contextlib.suppress(Exception):  # what defusedxml forbids, and what is no XML
            if packet:
                root = ElementTree.fromstring(packet.rstrip(b"\x00 \r\n\t"), forbid_dtd=True)
                self._descriptions = list(root.iter(f"{_RDF}Description"))

    def title(self) -> str | None:
        """The title, in the default language where there are several."""
        items = list(self._items(f"{_DC}title"))
        default = [item for item in items if item.get(_LANGUAGE) == "x-default"]
        return next((item.text for item in [*default, *items] if item.text and item.text.strip()), None)

    def keywords(self) -> list[str]:
        """The keywords."""
        return [item.text for item in self._items(f"{_DC}subject") if item.text]

    def taken(self) -> datetime | None:
        """When the photograph was taken."""
        return parse_time(self._simple(f"{_EXIF}DateTimeOriginal"))

    def make(self) -> str | None:
        """The maker of the camera."""
        return self._simple(f"{_TIFF}Make")

    def model(self) -> str | None:
        """The model of the camera."""
        return self._simple(f"{_TIFF}Model")

    def lens(self) -> str | None:
        """The lens."""
        return self._simple(f"{_AUX}Lens")

    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude."""
        latitude, longitude = (_degrees(self._simple(f"{_EXIF}GPS{name}")) for name in ("Latitude", "Longitude"))
        if latitude is None or longitude is None or not is_place(latitude, longitude):
            return None
        return latitude, longitude

    def _simple(self, name: str) -> str | None:
        """A property of one value, which is written as an attribute or as an element."""
        for description in self._descriptions:
            element = description.find(name)
            value = description.get(name) or (None if element is None else element.text)
            if value:
                return value
        return None

    def _items(self, name: str) -> Iterator[Element]:
        """The items of a list of values."""
        for description in self._descriptions:
            for element in description.findall(name):
                yield from element.iter(f"{_RDF}li")


def _degrees(text: str | None) -> float | None:
    found = _COORDINATE.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    degrees = math.fsum(float(part or 0) / 60.0**power for power, part in enumerate(found.groups()[:3]))
    return -degrees if found[4] in "SW" else degrees
