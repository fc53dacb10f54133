"""A map of a library: images and words in the plane in which they differ most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.embedding.batcher import batched
from app.embedding.cache import Vector
from index import Library, RecordNotFound
from model import threads
from model.space import JointSpace

_CHUNK = 512  # vectors in double precision at a time


@dataclass(frozen=True)
class Images:
    """Images of a library: their ids and names. Tuples of nothing but strings cost the garbage collector nothing."""

    ids: tuple[str, ...]
    filenames: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Map:
    """Words, in the requested order, images, and where they are: rows of `places` (n, 2), those of the words first.

    `explained` is the share of the variance along each axis. `total` counts the images of the library, of which a map
    shows a sample. Maps are kept, so they have no object for each point: every full garbage collection would go through
    all of them while nobody else can go on.
    """

    words: tuple[str, ...]
    images: Images
    places: NDArray[np.float64]
    explained: tuple[float, float]
    total: int
    unknown_words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sample:
    """Images of a library with their vectors (n, D), float32, and how many images the library has in all."""

    images: Images
    vectors: Vector
    total: int


def draw_map(space: JointSpace, sample: Sample, words: Sequence[str]) -> Map:
    """A principal component analysis of images and of words: the same for the same library.

    Images and words lie in different parts of the space, so the mean of each kind is taken off first, as the paper's
    figure is about what they share. EmptyTextError, NoKnownWordsError. Source: Kiros et al. 2014, figure of
    multimodal regularities.
    """
    named = space.embed_operands(list(words)) if words else np.empty((0, space.dimension), dtype=np.float32)
    places, explained = _principal_plane([_Centred(named), _Centred(sample.vectors)])
    unknown = dict.fromkeys(word for text in words for word in space.unknown_words(text))
    return Map(tuple(words), sample.images, places, explained, sample.total, tuple(unknown))


def take_sample(library: Library, limit: int) -> Sample:
    """Up to `limit` images, newest first, spread evenly over the library."""
    total = library.count("images")
    names = library.sample_images(limit)
    parts = [_with_vectors(library, ids) for ids in batched(names, _CHUNK)]
    ids = tuple(id for part, _ in parts for id in part)
    dimension = library.space.dimension
    vectors = np.concatenate([vectors for _, vectors in parts] or [np.empty((0, dimension), dtype=np.float32)])
    return Sample(Images(ids, tuple(names[id] for id in ids)), vectors, total)


def _with_vectors(library: Library, ids: list[str]) -> tuple[list[str], Vector]:
    """Ids of images and their vectors (n, D), without those that have just been deleted."""
    while True:
        try:
            return ids, library.image_vectors(ids)
        except RecordNotFound as error:
            ids = [id for id in ids if id != error.id]


class _Centred:
    """Vectors (n, D) of one kind around their mean, in double precision a chunk at a time, each kind of weight 1."""

    def __init__(self, vectors: Vector) -> None:
        self._vectors = vectors
        # The mean of one or two words is mostly those words themselves.
        self._mean = vectors.mean(axis=0, dtype=np.float64) if len(vectors) > 2 else np.zeros(vectors.shape[1])
        self.dimension = vectors.shape[1]
        self.weight = 1 / np.sqrt(max(len(vectors), 1))

    def __len__(self) -> int:
        return len(self._vectors)

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(self._vectors), _CHUNK):
            yield self._vectors[start : start + _CHUNK].astype(np.float64) - self._mean


def _principal_plane(kinds: Sequence[_Centred]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Words and images (n, D) to places (n, 2); each kind counts the same, however many there are of it."""
    if not any(map(len, kinds)):
        return np.zeros((0, 2)), (0.0, 0.0)
    few = sum(map(len, kinds)) < kinds[0].dimension
    axes, lengths = _principal_axes((chunk * kind.weight for kind in kinds for chunk in kind.chunks()), few)
    # The sign of an axis is arbitrary: the component that is largest points upwards.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, np.newaxis]
    places = np.zeros((sum(map(len, kinds)), 2))
    places[:, : len(axes)] = np.concatenate([chunk @ axes.T for kind in kinds for chunk in kind.chunks()])
    shares = [float(length / max(lengths.sum(), 1e-12)) for length in lengths[:2]]
    return places, (shares[0], shares[1] if len(shares) > 1 else 0.0)


def _principal_axes(
    chunks: Iterable[NDArray[np.float64]], few: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal axes of rows (n, D), unit vectors, and the lengths of all axes, squared, longest first.

    From the smaller one of the two products of the rows with themselves: that takes a quarter of the time of their
    singular values, which is seconds for two thousand photographs. `few`: there are less than D rows.
    """
    if few:
        rows = np.concatenate(list(chunks))
        product = rows @ rows.T
    else:
        product = sum((threads.compute(np.matmul, chunk.T, chunk) for chunk in chunks), start=np.zeros(()))
    lengths, vectors = threads.compute(np.linalg.eigh, product)
    lengths, vectors = lengths[::-1].clip(min=0.0), vectors.T[::-1][:2]
    if few:
        vectors = vectors @ rows
        # An axis without length has no direction, only rounding errors: it stays short, and everything is at its zero.
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(norms, max(float(norms.max()) * 1e-6, 1e-12))
    return vectors, lengths
