"""A joint space measured on a captioned image set: embed everything, then hand vectors to `retrieval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model.data.datasets import CaptionDataset
from model.evaluation.retrieval import RetrievalReport, evaluate_retrieval
from model.images.decoding import decode_image
from model.space import JointSpace

Vectors = npt.NDArray[np.float32]
DECODED = 16
"""Photographs that are decoded and embedded at a time: bounds the memory."""


def measure_retrieval(
    space: JointSpace,
    dataset: CaptionDataset,
    encoders: Sequence[str],
    report: Callable[[int, int], None],
) -> dict[str, RetrievalReport]:
    """Retrieval in both directions by each of the sentence encoders; `report(done, total)` counts images."""
    return rank_photographs(space, dataset, embed_photographs(space, dataset, report), encoders)


def rank_photographs(
    space: JointSpace, dataset: CaptionDataset, images: Vectors, encoders: Sequence[str]
) -> dict[str, RetrievalReport]:
    """As `measure_retrieval`, with the photographs' vectors (n, D) at hand."""
    captions = [caption for item in dataset.items for caption in item.captions]
    owner = np.repeat(np.arange(len(dataset.items)), [len(item.captions) for item in dataset.items])
    return {
        encoder: evaluate_retrieval(images, embed_captions(space, captions, encoder), owner) for encoder in encoders
    }


def embed_photographs(space: JointSpace, dataset: CaptionDataset, report: Callable[[int, int], None]) -> Vectors:
    """Every image of a set to float32 (n, D), unit rows."""
    items = dataset.items
    vectors = np.empty((len(items), space.dimension), dtype=np.float32)
    side = space.image.size
    for start in range(0, len(items), DECODED):
        batch = items[start : start + DECODED]
        images = [decode_image(item.path.read_bytes(), hint_side=side).image for item in batch]
        vectors[start : start + len(batch)] = space.embed_images(images)
        report(start + len(batch), len(items))
    return vectors


def embed_captions(space: JointSpace, captions: Sequence[str], encoder: str) -> Vectors:
    """Captions to float32 (n, D); one without a known word becomes a zero vector, which finds nothing."""
    vectors = np.zeros((len(captions), space.dimension), dtype=np.float32)
    known = [place for place, caption in enumerate(captions) if space.knows(caption)]
    vectors[known] = space.embed_texts([captions[place] for place in known], encoder)
    return vectors
