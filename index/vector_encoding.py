"""Vectors into and out of the catalog: checked, made unit length, packed as little-endian float16.

numpy is imported by what needs it: looking at records does not, and it takes as long to import as they take to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from index.errors import InvalidVector
from index.types import Halves, Vectors

if TYPE_CHECKING:
    import numpy.typing as npt

_HALF = "<f2"
_HALF_BYTES = 2
_EXPONENT = 0x7C00  # all bits of it are set in what is not finite
_MAGNITUDE = 0x7FFF
_BLOCK = 256  # rows whose doubles stay in the cache of a core: four times as fast as all of 7,000 at once


def unit_rows(vectors: npt.ArrayLike, dimension: int) -> Vectors:
    """Return the rows of `vectors` (n, D) at unit length; InvalidVector if one has no direction."""
    import numpy as np

    if isinstance(vectors, np.ndarray) and vectors.dtype == _HALF:
        vectors = singles(vectors)  # exactly the same numbers, sooner
    try:
        rows = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidVector(f"Vectors must be rows of {dimension} real numbers: {error}.") from error
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidVector(
            f"Expected vectors of {dimension} components, but the array has the shape {rows.shape}. "
            "Embed with the bundle that the library was made with."
        )
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(largest).all():
        raise InvalidVector("A vector has components that are not finite numbers.")
    if not largest.all():
        raise InvalidVector("A vector is zero: it has no direction.")
    rows = rows / largest  # first, so that the squares below neither overflow nor vanish
    unit: Vectors = (rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True))).astype(np.float32)
    return unit


def unit_vector(vector: npt.NDArray[Any], dimension: int) -> Vectors:
    """Return one vector (D,) at unit length; InvalidVector."""
    import numpy as np

    array = np.asarray(vector)
    if array.ndim != 1:
        raise InvalidVector(f"Expected one vector ({dimension},), but the shape is {array.shape}.")
    unit: Vectors = unit_rows(array[np.newaxis, :], dimension)[0]
    return unit


def unit_vectors(vectors: Sequence[npt.NDArray[Any]], dimension: int) -> list[Vectors]:
    """Return each vector (D,) at unit length; as `unit_vector`, but all of them in one go."""
    import numpy as np

    if any(np.shape(vector) != (dimension,) for vector in vectors):
        return [unit_vector(vector, dimension) for vector in vectors]  # it says what is wrong
    return list(unit_rows(np.stack(vectors), dimension)) if vectors else []


def pack(vectors: Vectors | Sequence[Vectors]) -> list[bytes]:
    """Return each row as float16 bytes."""
    import numpy as np

    return [row.tobytes() for row in np.asarray(vectors).astype(_HALF)]


@cache
def _values() -> Vectors:
    """Return the value of every half."""
    import numpy as np

    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def singles(halves: Halves) -> Vectors:
    """Return stored vectors in single precision; NumPy's own conversion takes five times as long."""
    import numpy as np

    values: Vectors = np.take(_values(), halves.view("u2"))
    return values


def stored_rows(packed: bytes, count: int, dimension: int) -> Halves:
    """Return so many packed rows as they are stored, (n, D); InvalidVector if they are no vectors of this dimension."""
    import numpy as np

    width = dimension * _HALF_BYTES
    if len(packed) != count * width:
        raise InvalidVector(f"A stored vector does not have {width} bytes.")
    rows: Halves = np.frombuffer(packed, dtype=_HALF).reshape(count, dimension)
    largest = (rows.view(np.uint16) & _MAGNITUDE).max(axis=1, initial=0)
    if (largest >= _EXPONENT).any():
        raise InvalidVector("A stored vector has components that are not finite numbers.")
    if not largest.all():
        raise InvalidVector("A stored vector is zero.")
    return rows


def halves_of(blobs: Sequence[bytes], dimension: int) -> Halves:
    """Return packed rows as they are stored, (n, D); InvalidVector."""
    if len({len(blob) for blob in blobs}) > 1:
        raise InvalidVector("Stored vectors have different lengths.")
    return stored_rows(b"".join(blobs), len(blobs), dimension)


def unpack(blobs: Sequence[bytes], dimension: int) -> Vectors:
    """Return packed rows as float32 (n, D), at unit length again in spite of the rounding; InvalidVector."""
    import numpy as np

    rows = halves_of(blobs, dimension)
    unit: Vectors = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        unit[start : start + _BLOCK] = unit_rows(rows[start : start + _BLOCK], dimension)
    return unit
