"""A block of a head whose vectors are kept as bytes, which FAISS scans in a fourth of the time of single precision."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from index.types import Halves, Keys, Vectors
from index.vectors.faiss.codec import one_thread
from index.vectors.head import LENGTH_MARGIN, Block, Choice, Flags

_MAGNITUDE = 0x7FFF
_HIGHEST = 127
_ZERO = 128  # the byte of a component that is zero
_DEVIATIONS = 6  # standard deviations of the difference of two scores that are allowed for

Codes = npt.NDArray[np.uint8]
"""Components as bytes, (n, D)."""


class ByteBlock:
    """Stored vectors, each component a byte. Scores of vectors of a thousand components are right to about 1e-3."""

    def __init__(self, keys: Keys, codes: Codes, limit: float) -> None:
        """`limit`: the component that the highest byte stands for."""
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        self._index: Any = faiss.IndexScalarQuantizer(codes.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        self._index.is_trained = True
        self._index.add_sa_codes(codes)
        self._keys = keys
        self._limit = limit

    @classmethod
    def of(cls, keys: Keys, halves: Halves) -> ByteBlock:
        """Return a block of stored vectors (n, D)."""
        limit = _limit(halves)
        return cls(keys, _encoded(halves, limit), limit)

    @property
    def keys(self) -> Keys:
        """The keys (n,)."""
        return self._keys

    def some(self, chosen: Flags) -> ByteBlock:
        """Return a block of the chosen ones."""
        return ByteBlock(self._keys[chosen], self._codes[chosen], self._limit)

    def joined(self, other: Block) -> ByteBlock | None:
        """Return one block of this one and of `other`, whose keys come after; None if its bytes mean something else."""
        if not isinstance(other, ByteBlock) or other._limit != self._limit:
            return None
        return ByteBlock(
            np.concatenate([self._keys, other._keys]), np.concatenate([self._codes, other._codes]), self._limit
        )

    def scores(self, vector: Vectors, count: int, choose: Choice | None) -> tuple[Keys, Vectors]:
        """Return about how near to a unit vector (D,) the `count` nearest are that may be chosen, and their keys."""
        parameters = None
        if choose is not None:
            bits = np.packbits(choose(self._keys), bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)))  # type: ignore[call-arg]
        scale = np.float32(_HIGHEST / np.abs(vector).max())
        query = np.rint(vector * scale)[np.newaxis, :]  # FAISS multiplies bytes by bytes, and would cut off the rest
        with one_thread():
            scores, places = self._index.search(query, min(count, len(self._keys)), params=parameters)
        there = places[0] >= 0
        return self._keys[places[0][there]], scores[0][there] * (np.float32(self._limit / _HIGHEST) / scale)

    def margin(self, vector: Vectors) -> float:
        """Return how much nearer to a unit vector (D,) one may be than another that has the higher score.

        Rounding moves each component by a uniform error of half a step at most, so scores have a normal one.
        """
        steps = np.array([self._limit, np.abs(vector).max()]) / _HIGHEST
        return LENGTH_MARGIN + _DEVIATIONS * float(np.linalg.norm(steps)) * math.sqrt(2 / 12)

    def agrees(self, places: Keys, halves: Halves) -> bool:
        """Tell whether these stored vectors (n, D) have the bytes in these places."""
        return np.array_equal(self._codes[places], _encoded(halves, self._limit))

    @property
    def _codes(self) -> Codes:
        """The bytes, where FAISS has them."""
        width: int = self._index.d
        codes: Codes = faiss.rev_swig_ptr(self._index.codes.data(), len(self._keys) * width).reshape(-1, width)
        return codes


def _limit(halves: Halves) -> float:
    """Return a power of two that no component of stored vectors (n, D) exceeds, so that most blocks have the same."""
    largest = (halves.view(np.uint16) & _MAGNITUDE).max(initial=1)
    return float(2.0 ** np.ceil(np.log2(float(np.array(largest, dtype=np.uint16).view(np.float16)))))


@cache
def _bytes(limit: float) -> Codes:
    """Return the byte of every half."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        rounded = np.clip(np.rint(np.nan_to_num(values) * (_HIGHEST / limit)), -_HIGHEST, _HIGHEST)
    codes: Codes = (rounded + _ZERO).astype(np.uint8)
    return codes


def _encoded(halves: Halves, limit: float) -> Codes:
    codes: Codes = np.take(_bytes(limit), halves.view("u2"))
    return codes
