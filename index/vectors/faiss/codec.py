"""How vectors are compressed and found again: a projection, inverted lists, and a product quantiser of four bits.

The projection keeps the directions in which texts and stored vectors vary most. Texts are what people search with, and
they lie elsewhere than images (the modality gap), so lists and codes that are made for images alone find too few of the
true neighbours of a text. Both covariances count the same. At 1,024 dimensions a vector takes 64 bytes, and of 120,000
the true ten nearest of a caption are among the best 200 codes 998 times in 1,000; a product quantiser on all dimensions
needs 128 bytes for 998, and on as many bytes finds 835.

Codes are for scanning very many vectors. Those few hundred that they find are ranked again by the projection itself, in
bytes, which leaves a few dozen whose vectors have to be read from the catalog: reading those costs most.

Sources: Jégou, Douze, Schmid, Product Quantization for Nearest Neighbor Search (2011); André, Kermarrec, Le Scouarnec,
Quicker ADC (2019), for the kernel that FAISS calls fast scan.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from index.types import Keys, Vectors

Lists = npt.NDArray[np.uint16]
"""The inverted list of each vector, (n,)."""

Codes = npt.NDArray[np.uint8]
"""Compressed vectors, (n, bytes a vector)."""

Rows = npt.NDArray[np.int8]
"""Projected vectors, rounded, (n, d); (n, 0) in the files of a version of Visem that had none."""

Probed = tuple[npt.NDArray[np.int64], Vectors]
"""Inverted lists to look into, (1, lists), and how near each is."""

_PROJECTED = 256
_COMPONENTS_A_CODE = 2
_MOST_LISTS = 4096
_LISTS_A_ROOT = 2  # lists per square root of the number of vectors
_POINTS_A_LIST = 40  # vectors to train on
_ITERATIONS = 8
_SEED = 7
_RANGE = 6.0  # standard deviations of a component of a projected unit vector that its rounded form can tell


@dataclass(frozen=True)
class Encoded:
    """Vectors as an index keeps them: their keys, and the list, the code and the rounded projection of each."""

    keys: Keys
    lists: Lists
    codes: Codes
    rows: Rows

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, places: npt.NDArray[np.int64]) -> Encoded:
        return Encoded(self.keys[places], self.lists[places], self.codes[places], self.rows[places])


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Return the parts, one after another; with rows if all have them."""
    width = min(part.rows.shape[1] for part in parts)
    return Encoded(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.lists for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.rows[:, :width] for part in parts]),
    )


@dataclass(frozen=True)
class Codec:
    """A trained compression of vectors with D components.

    `projection` (D, d), orthonormal columns; `centroids` (lists, d); `codebooks` (codes, 16, d / codes); `trained_on`:
    how many vectors there were when it was trained.
    """

    projection: npt.NDArray[np.float32]
    centroids: npt.NDArray[np.float32]
    codebooks: npt.NDArray[np.float32]
    trained_on: int

    @property
    def dimension(self) -> int:
        """D."""
        return len(self.projection)

    @property
    def lists(self) -> int:
        """How many inverted lists there are."""
        return len(self.centroids)

    @property
    def code_size(self) -> int:
        """Bytes a vector."""
        return (len(self.codebooks) + 1) // 2

    @cached_property
    def name(self) -> str:
        """What tells this codec from any other, for files."""
        return hashlib.sha256(self.serialize()).hexdigest()[:16]

    def project(self, vectors: Vectors) -> Vectors:
        """Return vectors (n, D) as lists and codes see them, (n, d)."""
        projected: Vectors = np.ascontiguousarray(vectors @ self.projection, dtype=np.float32)
        return projected

    def encode(self, keys: Keys, vectors: Vectors) -> Encoded:
        """Return list, code and row of each vector (n, D), under its key."""
        projected = self.project(vectors)
        with one_thread():
            lists = self._quantizer.search(projected, 1)[1][:, 0] if len(projected) else np.empty(0)
        return Encoded(keys, lists.astype(np.uint16), *self.compress(projected))

    def compress(self, projected: Vectors) -> tuple[Codes, Rows]:
        """Return code and row of each projected vector (n, d)."""
        rounded = np.rint(projected * (127 / min(1.0, _RANGE / math.sqrt(projected.shape[1]))))
        with one_thread():
            codes: Codes = self._product.compute_codes(projected)
        return codes, np.clip(rounded, -127, 127).astype(np.int8)

    def nearest_lists(self, query: Vectors, count: int) -> Probed:
        """Return the `count` lists that are nearest to a projected query (1, d): what every segment is searched in."""
        scores, lists = self._quantizer.search(query, count)
        return lists, scores

    def serialize(self) -> bytes:
        """Return the codec as bytes: a NumPy archive."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            projection=self.projection,
            centroids=self.centroids,
            codebooks=self.codebooks,
            trained_on=np.int64(self.trained_on),
        )
        return buffer.getvalue()

    @classmethod
    def deserialize(cls, data: bytes) -> Codec:
        """Read what `serialize` wrote; ValueError."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            codec = cls(arrays["projection"], arrays["centroids"], arrays["codebooks"], int(arrays["trained_on"]))
        width = codec.projection.shape[1]
        if codec.centroids.shape[1] != width or codec.codebooks.shape[0] * codec.codebooks.shape[2] != width:
            raise ValueError("the parts of the codec do not fit each other")
        return codec

    @cached_property
    def _quantizer(self) -> Any:
        quantizer = faiss.IndexFlatIP(self.centroids.shape[1])
        quantizer.add(self.centroids)
        return quantizer

    @cached_property
    def _product(self) -> Any:
        count, _, width = self.codebooks.shape
        product = faiss.ProductQuantizer(count * width, count, 4)
        faiss.copy_array_to_vector(self.codebooks.ravel(), product.centroids)
        return product

    def scannable(self, encoded: Encoded) -> Any:
        """Return a FAISS index of encoded vectors, laid out for scanning; it must not outlive the codec."""
        width = self.centroids.shape[1]
        plain = faiss.IndexIVFPQ(self._quantizer, width, self.lists, len(self.codebooks), 4, faiss.METRIC_INNER_PRODUCT)
        plain.by_residual = False
        faiss.copy_array_to_vector(self.codebooks.ravel(), plain.pq.centroids)
        plain.is_trained = True
        order = np.argsort(encoded.lists, kind="stable")
        bounds = np.searchsorted(encoded.lists[order], np.arange(self.lists + 1)).tolist()
        ordered_keys, ordered_codes = encoded.keys[order], encoded.codes[order]
        inverted: Any = plain.invlists
        for number, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                keys, codes = ordered_keys[start:end], ordered_codes[start:end]
                inverted.add_entries(number, end - start, faiss.swig_ptr(keys), faiss.swig_ptr(codes))
        plain.ntotal = len(encoded)
        with one_thread():
            return faiss.IndexIVFPQFastScan(plain)


def training_size(total: int) -> int:
    """Return how many of `total` vectors `train` wants to see."""
    return min(total, _POINTS_A_LIST * _list_count(total))


def train(sample: Vectors, queries: Vectors | None, total: int) -> Codec:
    """Train a codec for `total` vectors on a sample (n, D) of them, and on `queries` (m, D), vectors of texts."""
    projection = _projection(sample, queries)
    projected = np.ascontiguousarray(sample @ projection, dtype=np.float32)
    width = projected.shape[1]
    with one_thread():
        clusters = faiss.Kmeans(
            width,
            min(_list_count(total), len(sample)),
            niter=_ITERATIONS,
            spherical=True,
            seed=_SEED,
            min_points_per_centroid=1,
            max_points_per_centroid=_POINTS_A_LIST,
        )
        clusters.train(projected)
        product = faiss.ProductQuantizer(width, width // _COMPONENTS_A_CODE, 4)
        product.cp.min_points_per_centroid = 1
        product.train(projected[:16384])
    codebooks = faiss.vector_to_array(product.centroids).reshape(width // _COMPONENTS_A_CODE, 16, _COMPONENTS_A_CODE)
    centroids: Any = clusters.centroids
    return Codec(projection, centroids, codebooks, total)


def _list_count(total: int) -> int:
    return max(1, min(_MOST_LISTS, round(_LISTS_A_ROOT * math.sqrt(total))))


def _projection(sample: Vectors, queries: Vectors | None) -> Vectors:
    """Return the directions (D, d) that matter, turned at random so that all codes have about as much to tell."""
    dimension = sample.shape[1]
    covariance = np.zeros((dimension, dimension))
    for vectors in (sample, queries):
        if vectors is not None and len(vectors):
            one = vectors.T @ vectors
            covariance += one / np.trace(one)
    kept = min(_PROJECTED, dimension)
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :kept]
    turn = np.linalg.qr(np.random.default_rng(_SEED).normal(size=(kept, kept)))[0]
    projection = axes @ turn
    odd = kept % _COMPONENTS_A_CODE
    return np.pad(projection, ((0, 0), (0, odd))).astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenMP from waking its threads: for a single query that costs more than searching, and what is done in the
    background is to leave the other cores alone.

    The setting belongs to the calling thread, so others do not notice.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
