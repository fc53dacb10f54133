"""Captions as the language model's training wants them: word numbers, tags, and whose image they describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.captioner.scnlm import END, END_TAG, NO_TAG, RARE, SPECIAL_WORDS, START, tag_windows
from model.captioner.tagging import tag_captions
from model.data.datasets import CaptionDataset
from model.words import count_words, tokenise

Vectors = npt.NDArray[np.float32]
LONGEST = 24
"""Words of a training caption beyond which it is cut."""


@dataclass(frozen=True)
class CaptionSet:
    """Captions of a split.

    `images` (n, D) and `texts` (m, D) are unit vectors; `owner` (m,) is a caption's image row.
    """

    tokens: list[list[str]]
    words: list[list[int]]
    tags: list[list[str]]
    owner: npt.NDArray[np.int64]
    images: Vectors
    texts: Vectors

    def of_images(self) -> list[list[list[int]]]:
        """Captions as word numbers, by image."""
        grouped: list[list[list[int]]] = [[] for _ in range(len(self.images))]
        for words, owner in zip(self.words, self.owner.tolist(), strict=True):
            grouped[owner].append(words)
        return grouped


def caption_words(dataset: CaptionDataset, minimum_count: int, known: Callable[[str], bool]) -> list[str]:
    """Words that captions are written with: frequent enough, and known to the sentence encoders."""
    counts = count_words(caption for item in dataset.items for caption in item.captions)
    return [*SPECIAL_WORDS, *(word for word, count in counts.items() if count >= minimum_count and known(word))]


def read_captions(dataset: CaptionDataset, words: Sequence[str], images: Vectors, texts: Vectors) -> CaptionSet:
    """Captions of a split with their tags; `texts` has the vector of every caption in the set's order."""
    numbers = {word: number for number, word in enumerate(words)}
    tokens = [tokenise(caption)[:LONGEST] for item in dataset.items for caption in item.captions]
    owner = np.repeat(np.arange(len(dataset.items)), [len(item.captions) for item in dataset.items])
    full = np.array([bool(sentence) for sentence in tokens])
    tokens = [sentence for sentence in tokens if sentence]
    return CaptionSet(
        tokens,
        [[numbers.get(token, RARE) for token in sentence] for sentence in tokens],
        tag_captions(tokens),
        owner[full],
        images,
        texts[full],
    )


@dataclass(frozen=True)
class Batch:
    """Sentences as tensors: `inputs` and `targets` (n, T), `windows` (n, T, k), `rows` (n,) of the set."""

    inputs: Tensor
    targets: Tensor
    windows: Tensor
    rows: Tensor


IGNORED = -100
"""Target of a place that is not predicted: behind the end, or a rare word."""


def make_batch(captions: CaptionSet, rows: Sequence[int], tag_numbers: dict[str, int], window: int) -> Batch:
    """Captions of these rows, padded. A rare word is context, but never a target."""
    length = max(len(captions.words[row]) for row in rows) + 1
    inputs = np.full((len(rows), length), END, dtype=np.int64)
    targets = np.full((len(rows), length), IGNORED, dtype=np.int64)
    tags = np.full((len(rows), length), END_TAG, dtype=np.int64)
    for place, row in enumerate(rows):
        words = captions.words[row]
        inputs[place, : len(words) + 1] = [START, *words]
        targets[place, : len(words) + 1] = [IGNORED if word == RARE else word for word in words] + [END]
        tags[place, : len(words)] = [tag_numbers.get(tag, NO_TAG) for tag in captions.tags[row]]
    windows = torch.from_numpy(tag_windows(tags, window))
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), windows, torch.tensor(rows))
