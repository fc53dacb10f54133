"""A joint space measured on a captioned image set: embed everything, then hand vectors to `retrieval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model.bundle import SentenceEncoder
from model.datasets import CaptionDataset
from model.errors import TextError
from model.evaluation.retrieval import RetrievalReport, evaluate_retrieval
from model.images import decode_image
from model.space import IMAGE_BATCH, JointSpace

Vectors = npt.NDArray[np.float32]


def measure_retrieval(
    space: JointSpace,
    dataset: CaptionDataset,
    encoders: Sequence[SentenceEncoder],
    report: Callable[[int, int], None],
) -> dict[SentenceEncoder, RetrievalReport]:
    """Retrieval in both directions by each of the sentence encoders; `report(done, total)` counts images."""
    return rank_photographs(space, dataset, embed_photographs(space, dataset, report), encoders)


def rank_photographs(
    space: JointSpace, dataset: CaptionDataset, images: Vectors, encoders: Sequence[SentenceEncoder]
) -> dict[SentenceEncoder, RetrievalReport]:
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
    side = space.config.image.preprocessing.size
    for start in range(0, len(items), IMAGE_BATCH):
        batch = items[start : start + IMAGE_BATCH]
        images = [decode_image(item.path.read_bytes(), hint_side=side).image for item in batch]
        vectors[start : start + len(batch)] = space.embed_images(images)
        report(start + len(batch), len(items))
    return vectors


def embed_captions(space: JointSpace, captions: Sequence[str], encoder: SentenceEncoder) -> Vectors:
    """Captions to float32 (n, D); one without a known word becomes a zero vector, which finds nothing."""
    vectors = np.zeros((len(captions), space.dimension), dtype=np.float32)
    known: list[int] = []
    for place, caption in enumerate(captions):
        try:
            space.bundle.vocabulary.numbers(caption)
        except TextError:
            continue
        known.append(place)
    vectors[known] = space.embed_texts([captions[place] for place in known], encoder)
    return vectors
