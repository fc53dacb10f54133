"""Images in the rows of a Parquet file: as bytes, as Hugging Face's `datasets` stores them, or as paths.

Only plain columns of bytes and texts are read. Ray's own reader would also know columns of pickled Python objects, and
unpickle them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from app.ingest.bulk.work_units import Parquet
from app.ingest.files import FileUnreadError

_ROWS = 16  # in memory at a time
_PAGES = 1 << 20  # bytes of a file that are read at a time
_STRINGS = 16 << 20
_ITEMS = 1 << 20
_USUAL = "image"


class Row(NamedTuple):
    """An image: its bytes or why there are none; or the path of its file."""

    number: int
    name: str | None
    data: bytes | FileUnreadError
    path: str | None


class Rows:
    """The images of every `parts`-th row group. Close it."""

    def __init__(self, file: BinaryIO, piece: Parquet, max_bytes: int) -> None:
        """Read the end of the file, which says what is in it. FileUnreadError."""
        self._piece = piece
        self._max_bytes = max_bytes
        try:
            self._file: Any = pq.ParquetFile(
                file,
                buffer_size=_PAGES,
                pre_buffer=False,
                thrift_string_size_limit=_STRINGS,
                thrift_container_size_limit=_ITEMS,
            )
            self._column = _choose(self._file.schema_arrow, piece.column)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise _damaged(error) from error

    def __iter__(self) -> Iterator[Row]:
        """FileUnreadError where the file is damaged."""
        number = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if group % self._piece.parts == self._piece.part:
                yield from self._group(group, number)
            number += rows

    def close(self) -> None:
        """Give it up."""
        self._file.close()

    def _group(self, group: int, number: int) -> Iterator[Row]:
        try:
            for batch in self._file.iter_batches(_ROWS, row_groups=[group], columns=[self._column], use_threads=False):
                for value in batch.column(0):
                    yield self._row(number, value)
                    number += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(error, number) from error

    def _row(self, number: int, value: Any) -> Row:
        name: str | None = None
        if pa.types.is_struct(value.type):
            fields = value if value.is_valid else {}
            path = fields["path"].as_py() if "path" in fields else None
            name = None if path is None else PurePosixPath(path).name
            value = fields["bytes"] if fields else None
        if value is None or not value.is_valid:
            return Row(number, name, FileUnreadError("image_empty", "The row has no image."), None)
        if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
            path = value.as_py()
            return Row(number, PurePosixPath(path).name, b"", path)
        buffer = value.as_buffer()
        if buffer.size > self._max_bytes:
            return Row(number, name, FileUnreadError.too_large(buffer.size, self._max_bytes), None)
        return Row(number, name, buffer.to_pybytes(), None)


def _choose(schema: pa.Schema, wanted: str | None) -> str:
    """The name of the column with the images. FileUnreadError."""
    bytes_columns: list[str] = [field.name for field in schema if _has_bytes(field.type)]
    if wanted is not None:
        if wanted not in schema.names:
            raise _no_column(f"It has no column {wanted}", schema)
        kind = schema.field(wanted).type
        if wanted not in bytes_columns and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise _no_column(f"Its column {wanted} has neither bytes nor paths", schema)
        return wanted
    if _USUAL in bytes_columns:
        return _USUAL
    if len(bytes_columns) == 1:
        return bytes_columns[0]
    several = "several columns" if bytes_columns else "no column"
    raise _no_column(
        f"It has {several} of bytes. Name the one with the images, or with their paths, by --column", schema
    )


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):  # Hugging Face: struct<bytes: binary, path: string>
        fields = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
        path = fields.pop("path", pa.string())
        return set(fields) == {"bytes"} and _has_bytes(fields["bytes"]) and pa.types.is_string(path)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _no_column(reason: str, schema: pa.Schema) -> FileUnreadError:
    names = ", ".join(schema.names[:20])
    return FileUnreadError("archive_unreadable", f"{reason}; the columns are {names}."[:1000])


def _damaged(error: Exception, number: int = 0) -> FileUnreadError:
    told = (str(error).splitlines() or [type(error).__name__])[0][:300]
    after = f" from row {number:,} on" if number else ""
    return FileUnreadError("archive_unreadable", f"The Parquet file cannot be read{after}: {told.rstrip('.')}.")
