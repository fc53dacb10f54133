"""A map of a library: images and words in the plane in which they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.embedding.cache import Vector
from index import ImageRecord, Library, RecordNotFound
from model.space import JointSpace

_SEED = 0


@dataclass(frozen=True)
class Point:
    """A place on the map: a word, or an image with its record."""

    kind: Literal["word", "image"]
    x: float
    y: float
    word: str | None = None
    record: ImageRecord | None = None


@dataclass(frozen=True)
class Map:
    """Words first, in the requested order, then images.

    `explained` is the share of the variance along each axis. `total` counts the images of the library, of which a map
    shows a sample.
    """

    points: list[Point]
    explained: tuple[float, float]
    total: int
    unknown_words: tuple[str, ...]


def draw_map(space: JointSpace, library: Library, words: Sequence[str], limit: int) -> Map:
    """A principal component analysis of up to `limit` images and of words: the same for the same library.

    Images and words lie in different parts of the space, so the mean of each kind is taken off first, as the paper's
    figure is about what they share. EmptyTextError, NoKnownWordsError. Source: Kiros et al. 2014, figure of
    multimodal regularities.
    """
    records, total = _sample(library, limit)
    named = space.embed_operands(list(words)) if words else np.empty((0, space.dimension), dtype=np.float32)
    images = _vectors(library, records)
    places, explained = _principal_plane(_centred(named), _centred(images))
    points = [Point("word", x, y, word=word) for word, (x, y) in zip(words, places[: len(words)].tolist(), strict=True)]
    points += [
        Point("image", x, y, record=record)
        for record, (x, y) in zip(records, places[len(words) :].tolist(), strict=True)
    ]
    unknown = dict.fromkeys(word for text in words for word in space.unknown_words(text))
    return Map(points, explained, total, tuple(unknown))


def _sample(library: Library, limit: int) -> tuple[list[ImageRecord], int]:
    """Up to `limit` images, spread evenly over the library from the newest on, and how many there are."""
    total = library.count("images")
    if total <= limit:
        wanted = np.arange(total)
    else:
        wanted = np.sort(np.random.default_rng(_SEED).choice(total, size=limit, replace=False))
    return library.images_at(wanted.tolist()), total


def _vectors(library: Library, records: list[ImageRecord]) -> Vector:
    """Their vectors (n, D); records that have just been deleted are taken out of the list."""
    while True:
        try:
            return library.image_vectors([record.id for record in records])
        except RecordNotFound as error:
            records[:] = [record for record in records if record.id != error.id]


def _centred(vectors: Vector) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    # The mean of one or two words is mostly those words themselves.
    return exact - exact.mean(axis=0) if len(exact) > 2 else exact


def _principal_plane(
    words: NDArray[np.float64], images: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Words and images (n, D) to places (n, 2); each kind counts the same, however many there are of it."""
    rows = np.concatenate([words, images])
    if not len(rows):
        return np.zeros((0, 2)), (0.0, 0.0)
    balance = np.concatenate([np.full(len(kind), 1 / np.sqrt(max(len(kind), 1))) for kind in (words, images)])
    weighted = rows * balance[:, np.newaxis]
    axes, lengths = _principal_axes(weighted)
    # The sign of an axis is arbitrary: the component that is largest points upwards.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, np.newaxis]
    places = np.zeros((len(rows), 2))
    places[:, : len(axes)] = rows @ axes.T
    shares = [float(length / max(lengths.sum(), 1e-12)) for length in lengths[:2]]
    return places, (shares[0], shares[1] if len(shares) > 1 else 0.0)


def _principal_axes(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal axes of rows (n, D), unit vectors, and the lengths of all axes, squared, longest first.

    From the smaller one of the two products of the rows with themselves: that takes a quarter of the time of their
    singular values, which is seconds for two thousand photographs.
    """
    few = len(rows) < rows.shape[1]
    lengths, vectors = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    lengths, vectors = lengths[::-1].clip(min=0.0), vectors.T[::-1][:2]
    if few:
        vectors = vectors @ rows
        # An axis without length has no direction, only rounding errors: it stays short, and everything is at its zero.
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(norms, max(float(norms.max()) * 1e-6, 1e-12))
    return vectors, lengths
