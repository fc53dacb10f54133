"""PNG (W3C, third edition): the chunks that make the picture, without those that merely speak of it.

Viewers show a file whose comment is broken or whose profile is enormous. Pillow refuses it, and so what is not
needed, or cannot be read, is taken out before.
"""

from __future__ import annotations

import struct
import zlib

from model.images.limits import too_much_work

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 100_000
MAX_INFLATED = 1024 * 1024
"""Bytes that a profile or a text may inflate to: Pillow's own bound."""

_END = b"IEND"
_FRAMES = frozenset({b"acTL", b"fcTL", b"fdAT"})
_CHECKED = frozenset({b"tRNS", b"eXIf", b"iCCP"})
_ORIENTATIONS = (b"XML:com.adobe.xmp\x00", b"Raw profile type exif\x00")
"""Texts that may say which way is up."""


def picture_chunks(data: bytes) -> bytes:
    """The file without chunks that are no part of the picture or cannot be read; cut short where it is cut short.

    Raises `ImageError` (image_too_large) for a file of innumerable chunks.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    view = memoryview(data)
    position, count = len(SIGNATURE), 0
    while position < len(data):
        count += 1
        if count > MAX_CHUNKS:
            raise too_much_work("chunks", count, MAX_CHUNKS)
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data) or _is_needed(kind, view[position + 8 : end - 4], view[end - 4 : end]):
            kept.append(view[position:end])
        position = end
        if kind == _END:
            break
    return b"".join(kept)


def _is_needed(kind: bytes, body: memoryview, checksum: memoryview) -> bool:
    if not kind.isalpha() or kind[:1].isupper() or kind in _FRAMES:
        return True  # critical: Pillow says what is wrong with it
    if kind in (b"iTXt", b"zTXt", b"tEXt") and bytes(body[:32]).startswith(_ORIENTATIONS):
        return _is_intact(kind, body, checksum) and _is_readable_text(kind, bytes(body))
    if kind not in _CHECKED or not _is_intact(kind, body, checksum):
        return False
    return kind != b"iCCP" or _inflates(bytes(body).partition(b"\x00")[2][1:])


def _is_intact(kind: bytes, body: memoryview, checksum: memoryview) -> bool:
    return struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))) == checksum


def _is_readable_text(kind: bytes, body: bytes) -> bool:
    text = body.partition(b"\x00")[2]
    if kind == b"zTXt":
        return _inflates(text[1:])
    if kind == b"tEXt":
        return len(text) <= MAX_INFLATED
    compressed, parts = text[:1] == b"\x01", text[2:].split(b"\x00", 2)
    if len(parts) < 3:
        return False
    if compressed:
        return _inflates(parts[2])
    try:
        parts[2].decode()
    except UnicodeDecodeError:
        return False
    return len(parts[2]) <= MAX_INFLATED


def _inflates(compressed: bytes) -> bool:
    """Whether these are whole zlib data of a bounded size."""
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(compressed, MAX_INFLATED)
    except zlib.error:
        return False
    return inflater.eof
