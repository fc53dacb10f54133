"""What the file of a photograph says, as columns of its row, and conditions on these columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import ColumnElement, func, or_

from index.catalog import schema
from index.types import NO_FACTS, Near, PhotoFacts, PhotoFilter, Place

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_MINUTE_LONG = _MINUTE // _MICROSECOND
_LARGEST_OFFSET = timedelta(days=1) // _MICROSECOND
_ROUNDING = 1e-9  # of degrees, and of the radius of the earth: less than a centimetre
_EARTH_RADIUS = 6371.0088  # kilometres: the mean radius of the IUGG


def encode_facts(facts: PhotoFacts | None) -> dict[str, Any]:
    """Return the columns of facts; None: nobody has read them yet."""
    if facts is None:
        return {**encode_facts(NO_FACTS), "facts_read": 0}
    columns: dict[str, Any] = {
        "facts_read": 1,
        "taken": None if facts.taken is None else clock(facts.taken),
        "taken_offset": None if facts.taken is None else offset_of(facts.taken),
        "camera": facts.camera,
        "lens": facts.lens,
        "latitude": None,
        "longitude": None,
        "place_x": None,
        "place_y": None,
        "place_z": None,
        "orientation": facts.orientation,
        "title": facts.title,
        "keywords": json.dumps(facts.keywords, ensure_ascii=False) if facts.keywords else None,
    }
    if facts.place is not None:
        columns |= {"latitude": facts.place.latitude, "longitude": facts.place.longitude}
        columns |= zip(("place_x", "place_y", "place_z"), _on_sphere(*facts.place), strict=True)
    return columns


def decode_facts(row: Mapping[Any, Any]) -> PhotoFacts:
    """Return the facts in a row of an image; ValueError."""
    taken = None
    if row["taken"] is not None:
        taken = at_clock(row["taken"])
        if row["taken_offset"] is not None:
            taken = taken.replace(tzinfo=timezone(row["taken_offset"] * _MINUTE))
    located = row["latitude"] is not None and row["longitude"] is not None
    return PhotoFacts(
        taken=taken,
        camera=row["camera"],
        lens=row["lens"],
        place=Place(row["latitude"], row["longitude"]) if located else None,
        orientation=row["orientation"],
        title=row["title"],
        keywords=() if row["keywords"] is None else tuple(json.loads(row["keywords"])),
    )


def clock(time: datetime) -> int:
    """Return what a clock shows at this time, whatever its offset, in microseconds since 1970 on that clock."""
    return (time.replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def at_clock(microseconds: int) -> datetime:
    """Return the time without an offset at which a clock shows this; ValueError for years that there are not."""
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError as error:
        raise ValueError(str(error)) from error


def conditions(photo: PhotoFilter) -> list[ColumnElement[bool]]:
    """Return what a filter demands of the rows of images."""
    table = schema.images.c
    found: list[ColumnElement[bool]] = []
    if photo.taken_after is not None:
        taken, limit = _comparable(photo.taken_after)
        found += [table.taken >= limit - _LARGEST_OFFSET, taken >= limit]  # the first is for the index
    if photo.taken_before is not None:
        taken, limit = _comparable(photo.taken_before)
        found += [table.taken < limit + _LARGEST_OFFSET, taken < limit]
    if photo.camera is not None:
        # Databases agree on the small letters of ASCII only.
        alike = func.lower(table.camera).contains(photo.camera.lower(), autoescape=True)
        found += [table.camera.is_not(None), or_(alike, table.camera.contains(photo.camera, autoescape=True))]
    if photo.near is not None:
        found += _within(photo.near)
    return found


def _comparable(limit: datetime) -> tuple[ColumnElement[int], int]:
    """The times of photographs, and the limit to compare them with: clocks, or moments if the limit has an offset."""
    taken, offset = schema.images.c.taken, schema.images.c.taken_offset
    minutes = offset_of(limit)
    if minutes is None:
        return taken, clock(limit)
    return taken - func.coalesce(offset, minutes) * _MINUTE_LONG, clock(limit) - minutes * _MINUTE_LONG


def _within(near: Near) -> list[ColumnElement[bool]]:
    """Compare distances by the chords below them, which take no trigonometry in the database."""
    table = schema.images.c
    angle = min(near.kilometres / _EARTH_RADIUS, math.pi)
    x, y, z = _on_sphere(near.latitude, near.longitude)
    east, north, up = table.place_x - x, table.place_y - y, table.place_z - z
    band = math.degrees(angle) + _ROUNDING
    return [
        table.latitude.between(near.latitude - band, near.latitude + band),
        east * east + north * north + up * up <= (2 * math.sin(angle / 2)) ** 2 + _ROUNDING**2,
    ]


def _on_sphere(latitude: float, longitude: float) -> tuple[float, float, float]:
    """A place as a unit vector."""
    north, east = math.radians(latitude), math.radians(longitude)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


def offset_of(time: datetime) -> int | None:
    """Return the offset of a time from UTC in minutes; None if it has none."""
    offset = time.utcoffset()
    return None if offset is None else offset // _MINUTE
