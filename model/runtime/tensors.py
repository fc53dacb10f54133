"""The tensors of a safetensors file, mapped: what is not read is not loaded, and all processes share what is.

The library's own reader copies every tensor that it is asked for, whole. A bundle has 24 MB of words, and a sentence
needs a few rows of them. Format: https://huggingface.co/docs/safetensors, version 0.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from model.errors import BundleError

_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "I32": np.int32,
    "U32": np.uint32,
    "I64": np.int64,
    "U64": np.uint64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}


@cache
def _values() -> npt.NDArray[np.float32]:
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def singles(tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A copy of a tensor in single precision. Of half precision all values are looked up: NumPy takes longer."""
    if tensor.dtype != np.float16:
        return tensor.astype(np.float32)
    return np.asarray(np.take(_values(), tensor.view(np.uint16)))


class MappedTensors(Mapping[str, npt.NDArray[Any]]):
    """Read-only arrays by name, as they lie in the file. They keep the file mapped as long as they live."""

    def __init__(self, file: Path) -> None:
        """Map a file. Errors: `BundleError`."""
        self.file = file
        try:
            with file.open("rb") as opened:
                self._memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            (length,) = struct.unpack_from("<Q", self._memory)
            header = from_json(self._memory[8 : 8 + length])
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            self._arrays = {name: self._map(8 + length, entry) for name, entry in entries.items()}
        except (
            *(OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError),
            struct.error,
        ) as error:
            raise BundleError("bundle_corrupted", f"{file} cannot be read: {error}. Restore the bundle.") from error

    def _map(self, start: int, entry: dict[str, Any]) -> npt.NDArray[Any]:
        kind, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        count = math.prod(shape)
        if min(shape, default=0) < 0 or begin < 0 or end - begin != kind.itemsize * count:
            raise ValueError("a tensor has another size than its shape says")
        if not count:
            return np.empty(shape, kind)
        return np.frombuffer(self._memory, kind, count, start + begin).reshape(shape)  # ValueError beyond the end

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def require(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The tensor of a name. Errors: `BundleError` where it is not there, or has another shape."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape:
            what = "is not there" if found is None else f"is {found.shape}"
            raise BundleError(
                "bundle_corrupted",
                f"{self.file} does not fit its configuration: {name} {what}, where it should be {shape}.",
            )
        return found
