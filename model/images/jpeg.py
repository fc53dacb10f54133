"""JPEG (ITU-T T.81): the work that its segments announce, and whether a file without its end marker is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model.images.limits import ImageLimits, too_much_work

MAX_SCANS = 100
"""Editors write some ten scans. Every scan of a progressive file passes over all pixels."""

MAX_PASSES = 25
"""Scans times pixels may be as many as so many passes over the largest picture allowed."""

MAX_SEGMENTS = 4096
"""Segments before the first scan. A profile takes up to 255, and a depth map of phones some hundreds."""

MAX_SKIPPED = 256 * 1024
"""Bytes between segments before the first scan: they may be filled up, and are hardly ever."""

END_OF_IMAGE = b"\xff\xd9"

_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a segment: neither stuffing, restart nor fill


def check_segments(data: bytes) -> None:
    """Raise `ImageError` (image_too_large) for a file of innumerable segments, or of what is skipped between them.

    Pillow reads the former one by one, and the latter byte by byte.
    """
    end, skipped = 2, 0
    for count, segment in enumerate(_segments(data), 1):
        end, skipped = segment.end, segment.skipped
        if count > MAX_SEGMENTS:
            raise too_much_work("segments", count, MAX_SEGMENTS)
        if segment.marker == _SCAN:
            break
    else:
        skipped += max(len(data) - end, 0)
    if skipped > MAX_SKIPPED:
        raise too_much_work("bytes between segments", skipped, MAX_SKIPPED)


def check_scans(data: bytes, pixels: int, limits: ImageLimits) -> None:
    """Raise `ImageError` (image_too_large) for a picture of `pixels` whose scans would take too long."""
    allowed = min(MAX_SCANS, max(MAX_PASSES * limits.max_pixels // max(pixels, 1), 1))
    if data.count(b"\xff\xda") <= allowed:  # at most so many, as other segments may hold these bytes, too
        return
    scans = 0
    for segment in _segments(data):
        scans += segment.marker == _SCAN
        if scans > MAX_SCANS:
            raise too_much_work("scans", scans, MAX_SCANS)
    if scans > allowed:
        raise too_much_work(f"scans of {pixels:,} pixels", scans, allowed)


def has_all_scans(data: bytes) -> bool:
    """Whether the scans, if each of them is whole, hold every coefficient of every component to its last bit."""
    components: list[int] = []
    progressive = False
    missing: dict[int, list[int]] = {}  # of each component: bits that each of its 64 coefficients still lacks
    for segment in _segments(data):
        marker, body = segment.marker, segment.body
        if marker in _FRAMES and len(body) >= 6:
            components = list(body[6 : 6 + 3 * body[5] : 3])
            progressive = marker in _PROGRESSIVE
            missing = {component: [1] * 64 for component in components}
        elif marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            if not progressive:
                first, last, bits = 0, 63, 0
            for component in body[1 : 1 + 2 * body[0] : 2]:
                for coefficient in range(first, min(last, 63) + 1):
                    if component in missing:
                        missing[component][coefficient] = bits & 15
    return bool(components) and not any(any(bits) for bits in missing.values())


@dataclass(frozen=True)
class _Segment:
    """A marker and what it announces; `end` is where it ends, `skipped` bytes stood between the segments before it."""

    marker: int
    body: bytes
    end: int
    skipped: int


def _segments(data: bytes) -> Iterator[_Segment]:
    """The marker segments, as far as they can be followed; ends at the end of the image."""
    position, skipped, in_scan = 2, 0, False
    while (found := _MARKER.search(data, position)) is not None:
        start = found.start()
        marker = data[start + 1]
        if marker == END_OF_IMAGE[1]:
            return
        skipped += 0 if in_scan else start - position
        length = int.from_bytes(data[start + 2 : start + 4], "big")
        position = start + 2 + max(length, 2)
        yield _Segment(marker, data[start + 4 : start + 2 + length], position, skipped)
        in_scan = marker == _SCAN
