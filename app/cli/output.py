"""Standard output and standard error: results on the one, messages on the other."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast


def print_json(document: Mapping[str, Any]) -> None:
    """Print a JSON document on standard output."""
    write(json_text(document) + "\n")


def json_text(value: Any) -> str:
    """JSON on one line; in ASCII where standard output could not express more."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, ensure_ascii=not utf8, allow_nan=False)


def write(text: str) -> None:
    """Write to standard output."""
    sys.stdout.write(text)


def say(message: str) -> None:
    """Write a line for people to standard error."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


@contextmanager
def own_output() -> Iterator[None]:
    """Keep what other threads print out of standard output: Ray's print there that a worker has died."""
    real = sys.stdout
    sys.stdout = cast(TextIO, _OfOneThread(real))
    try:
        yield
    finally:
        sys.stdout = real


class _OfOneThread:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = threading.current_thread()

    def write(self, text: str) -> int:
        return self._stream.write(text) if threading.current_thread() is self._thread else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: aligned on a terminal, otherwise a line a row with tabs between, without a head."""
    if not sys.stdout.isatty():
        for row in rows:
            write("\t".join(printable(cell) for cell in row) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    Console(file=sys.stdout).print(table)


def shown(path: Path | str) -> str:
    r"""A file name to show, whatever its bytes are: those that are no text become `\xe9`."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def real_path(path: Path | str) -> str:
    r"""A path for programs: as it is; of bytes that are no UTF-8 each becomes `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    r"""Text without characters that would move the cursor or colour the terminal: those become `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size(count_of_bytes: float) -> str:
    """`1.5 MiB`."""
    if count_of_bytes < 1024:
        return f"{count_of_bytes:,.0f} bytes"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    count_of_bytes /= 1024
    while count_of_bytes >= 1024 and unit != "TiB":
        unit = next(units)
        count_of_bytes /= 1024
    return f"{count_of_bytes:,.1f} {unit}"
