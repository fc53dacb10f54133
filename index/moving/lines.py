"""Records and vectors of a part, as the files of it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from index.errors import InvalidVector
from index.moving.archive import DamagedError, first_problem
from index.types import Halves
from index.types.moving import MovedFile, MovedImage, MovedSentence, MovedSource
from index.vector_encoding import singles, stored_rows

M = TypeVar("M", bound=BaseModel)
V = TypeVar("V", MovedImage, MovedSentence)

_UNIT = 0.02  # how far from 1 the length of a vector may be that was rounded to halves
_MOST_LINES = 4096


def records_of(files: Mapping[str, bytes], model: type[M], name: str) -> list[M]:
    """Return the records of a file of a part, which may not be there; DamagedError."""
    data = files.get(f"{name}.jsonl", b"")
    if not data:
        return []
    lines = data.removesuffix(b"\n").split(b"\n")
    if len(lines) > _MOST_LINES:
        raise DamagedError(f"{name}.jsonl has too many lines")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(model.model_validate_json(line))
        except ValidationError as error:
            raise DamagedError(f"{name}.jsonl, line {number}: {first_problem(error)}") from error
        except ValueError as error:  # numbers with more digits than Python takes
            raise DamagedError(f"{name}.jsonl, line {number}: {error}") from error
    return found


def vectors_of(files: Mapping[str, bytes], name: str, count: int, dimension: int) -> Halves:
    """Return the vectors (count, D) of a file of a part; DamagedError, also if one is not of unit length."""
    buffer = io.BytesIO(files.get(f"{name}.npy", b""))
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("it is of another version")
        shape, fortran, kind = np.lib.format.read_array_header_1_0(buffer)
        if shape != (count, dimension) or fortran or kind != np.dtype("<f2"):
            raise ValueError(f"it has no {count} vectors of {dimension} halves")
        rows = stored_rows(buffer.read(), count, dimension)
    except (ValueError, InvalidVector, SyntaxError, TypeError) as error:
        raise DamagedError(f"{name}.npy: {error}") from error
    if (np.abs(np.linalg.norm(singles(rows), axis=1) - 1) > _UNIT).any():
        raise DamagedError(f"{name}.npy: there is a vector that is not of unit length")
    return rows


def lines(records: Iterable[BaseModel]) -> bytes:
    """Return records as the lines of a file; what is not said stands for the default."""
    return b"".join(record.model_dump_json(exclude_defaults=True).encode() + b"\n" for record in records)


def array(vectors: Halves) -> bytes:
    """Return vectors (n, D) as a file of NumPy."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(vectors, dtype="<f2"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def part_files(
    *,
    sources: Sequence[MovedSource] = (),
    files: Sequence[MovedFile] = (),
    images: Sequence[MovedImage] = (),
    image_vectors: Halves | None = None,
    sentences: Sequence[MovedSentence] = (),
    sentence_vectors: Halves | None = None,
) -> dict[str, bytes]:
    """Return the files of a part, but for contents and thumbnails."""
    named = {"sources": sources, "files": files, "images": images, "sentences": sentences}
    found = {f"{name}.jsonl": lines(records) for name, records in named.items() if records}
    for name, vectors in (("images", image_vectors), ("sentences", sentence_vectors)):
        if vectors is not None and len(vectors):
            found[f"{name}.npy"] = array(vectors)
    return found
