"""JPEG (ITU-T T.81): the work that its segments announce, and whether a file without its end marker is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator

from model.images.limits import ImageLimits, too_much_work

MAX_SCANS = 100
"""Editors write some ten scans. Every scan of a progressive file passes over all pixels."""

MAX_PASSES = 25
"""Scans times pixels may be as many as so many passes over the largest picture allowed."""

MAX_SEGMENTS = 4096
"""Segments before the first scan. A profile takes up to 255, and a depth map of phones some hundreds."""

END_OF_IMAGE = b"\xff\xd9"

_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in entropy-coded data: neither stuffing, restart nor fill


def check_segments(data: bytes) -> None:
    """Raise `ImageError` (image_too_large) for a file of innumerable segments, before they are read one by one."""
    for count, (marker, _) in enumerate(_segments(data), 1):
        if count > MAX_SEGMENTS:
            raise too_much_work("segments", count, MAX_SEGMENTS)
        if marker == _SCAN:
            return


def check_scans(data: bytes, pixels: int, limits: ImageLimits) -> None:
    """Raise `ImageError` (image_too_large) for a picture of `pixels` whose scans would take too long."""
    allowed = min(MAX_SCANS, max(MAX_PASSES * limits.max_pixels // max(pixels, 1), 1))
    if data.count(b"\xff\xda") <= allowed:  # at most so many, as other segments may hold these bytes, too
        return
    scans = 0
    for marker, _ in _segments(data):
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise too_much_work("scans", scans, MAX_SCANS)
    if scans > allowed:
        raise too_much_work(f"scans of {pixels:,} pixels", scans, allowed)


def has_all_scans(data: bytes) -> bool:
    """Whether the scans, if each of them is whole, hold every coefficient of every component to its last bit."""
    components: list[int] = []
    progressive = False
    missing: dict[int, list[int]] = {}  # of each component: bits that each of its 64 coefficients still lacks
    for marker, body in _segments(data):
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


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments and their bodies, as far as they can be followed; ends at the end of the image."""
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker in (0xFF, 0x00):
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == END_OF_IMAGE[1]:
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)
        if marker == _SCAN:
            following = _MARKER.search(data, position)
            if following is None:
                return
            position = following.start()
