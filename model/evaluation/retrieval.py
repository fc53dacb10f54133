"""Image-sentence retrieval: recall at K and median rank in both directions (PAPER.md, section 4).

Hodosh, Young, Hockenmaier, "Framing Image Description as a Ranking Task", JAIR 47 (2013).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Scores closer than this are ties. By where they stand in a matrix product, equal vectors can get scores that
# differ in their last bits: about 1e-7 for unit vectors in float32.
_TIE = 1e-6

# Scores held in memory at once: 64 MiB of float32.
_BLOCK_SCORES = 1 << 24


@dataclass(frozen=True)
class RetrievalScores:
    """Recall at 1, 5 and 10 in percent, and the median of the 1-based ranks (so 1.0 is best)."""

    r1: float
    r5: float
    r10: float
    median_rank: float


@dataclass(frozen=True)
class RetrievalReport:
    """Both directions: finding a sentence for an image, and the image of a sentence."""

    image_to_sentence: RetrievalScores
    sentence_to_image: RetrievalScores

    @property
    def recall_sum(self) -> float:
        """R@1 + R@5 + R@10 of both directions, from 0 to 600: what a model is selected by."""
        directions = (self.image_to_sentence, self.sentence_to_image)
        return sum(scores.r1 + scores.r5 + scores.r10 for scores in directions)

    def to_json(self) -> dict[str, dict[str, float]]:
        """The document that `visem evaluate retrieval --json` prints."""
        return asdict(self)


def evaluate_retrieval(
    image_vectors: ArrayLike, sentence_vectors: ArrayLike, sentence_image: ArrayLike
) -> RetrievalReport:
    """Rank every sentence for every image and the reverse, by the inner product of unit vectors.

    `image_vectors` is (N, D), `sentence_vectors` (M, D); `sentence_image` (M,) has each sentence's image row.
    Image to sentence takes the best rank among the image's own sentences, which do not compete with each
    other; images without a sentence only compete. Ties count against us, and so do scores that are not
    numbers: an encoder that gives everything the same vector comes last instead of first.

    Raises ValueError if the shapes do not fit together or an index points nowhere.
    """
    images = np.asarray(image_vectors, dtype=np.float32)
    sentences = np.asarray(sentence_vectors, dtype=np.float32)
    owners = np.asarray(sentence_image)
    _check(images, sentences, owners)
    own_scores = np.einsum("md,md->m", sentences, images[owners])  # (M,)
    own_scores[np.isnan(own_scores)] = -np.inf
    best_own = np.full(len(images), -np.inf, dtype=np.float32)  # (N,)
    np.maximum.at(best_own, owners, own_scores)

    image_ranks = np.ones(len(images), dtype=np.int64)
    sentence_ranks = np.ones(len(sentences), dtype=np.int64)
    block = max(1, _BLOCK_SCORES // len(images))
    for start in range(0, len(sentences), block):
        rows = slice(start, start + block)
        scores = sentences[rows] @ images.T  # (B, N)
        own = np.arange(len(scores)), owners[rows]
        sentence_ranks[rows] += _rivals(scores, own_scores[rows, None], own).sum(axis=1)
        image_ranks += _rivals(scores, best_own, own).sum(axis=0)

    described = np.bincount(owners, minlength=len(images)) > 0
    return RetrievalReport(_summarise(image_ranks[described]), _summarise(sentence_ranks))


def _rivals(
    scores: NDArray[np.float32], own: NDArray[np.float32], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Where a score (B, N) is not clearly below the own one (broadcast to it), own `pairs` excepted.

    "At or above" would be another thing: a score of NaN is a rival too.
    """
    rivals = ~(scores < own - np.float32(_TIE))
    rivals[pairs] = False
    return rivals


def _summarise(ranks: NDArray[np.int64]) -> RetrievalScores:
    r1, r5, r10 = (100 * int(np.count_nonzero(ranks <= k)) / len(ranks) for k in (1, 5, 10))
    return RetrievalScores(r1, r5, r10, median_rank=float(np.median(ranks)))


def _check(images: NDArray[np.float32], sentences: NDArray[np.float32], owners: NDArray[np.int64]) -> None:
    if images.ndim != 2 or sentences.ndim != 2 or images.shape[1] != sentences.shape[1]:
        raise ValueError(f"Vectors must be (N, D) and (M, D); they are {images.shape} and {sentences.shape}.")
    if not len(images) or not len(sentences):
        raise ValueError("There must be at least one image and one sentence to rank.")
    if owners.shape != (len(sentences),) or owners.dtype.kind not in "iu":
        raise ValueError(
            f"sentence_image must be {len(sentences)} whole numbers; it is {owners.shape} of {owners.dtype}."
        )
    if owners.min() < 0 or owners.max() >= len(images):
        raise ValueError(f"sentence_image must point to one of {len(images)} images.")
