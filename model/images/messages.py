"""What a process that decodes and the one that asks it say to each other: documents, with bytes behind them."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

LENGTH = struct.Struct("<I")


def read_message(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """A document and its bytes; EOFError where the other side has gone."""
    (length,) = LENGTH.unpack(_exactly(file, LENGTH.size))
    document: dict[str, Any] = json.loads(_exactly(file, length))
    return document, _exactly(file, document["bytes"])


def write_message(file: IO[bytes], document: dict[str, Any], data: bytes = b"") -> None:
    """Send a document and its bytes; BrokenPipeError where the other side has gone."""
    text = json.dumps({**document, "bytes": len(data)}).encode()
    file.write(LENGTH.pack(len(text)) + text)
    file.write(data)
    file.flush()


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data
