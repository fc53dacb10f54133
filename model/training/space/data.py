"""Training data in the form that the loops read: pixels in one memory-mapped array, captions as word numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2 as transforms

from model.data.datasets import CaptionDataset
from model.images.decoding import decode_image
from model.words import Vocabulary

Pixels = npt.NDArray[np.uint8]
MOST_WORDS = 30
"""Words of a caption that training reads."""


@dataclass(frozen=True)
class TrainingSet:
    """Images (n, S, S, 3) uint8 and, for each, its captions as lists of word numbers (none of them empty).

    `pixels`: none, where the image tower is frozen, and its features are all that training reads of images.
    `guidance` (captions, 384), unit rows: the text model's vectors of all captions in a row; none without guidance.
    """

    pixels: Pixels | None
    captions: list[list[list[int]]]
    guidance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.captions)

    @cached_property
    def starts(self) -> list[int]:
        """The place of each image's first caption among all of them."""
        return list(accumulate((len(captions) for captions in self.captions), initial=0))[:-1]


def encode_captions(dataset: CaptionDataset, vocabulary: Vocabulary) -> tuple[list[list[list[int]]], list[str]]:
    """Each image's captions as word numbers, and the text of all of them in a row.

    A caption without a known word is left out; a long one is cut, because no description needs more words.
    """
    numbers: list[list[list[int]]] = []
    texts: list[str] = []
    for item in dataset.items:
        numbers.append([])
        for caption in item.captions:
            if known := vocabulary.resolve(caption)[0]:
                numbers[-1].append(known[:MOST_WORDS])
                texts.append(caption)
    return numbers, texts


def encode_texts(texts: Mapping[str, Sequence[str]], vocabulary: Vocabulary) -> list[list[int]]:
    """Captions without photographs, by name of their file, as word numbers; those without a known word are left out."""
    numbers = (vocabulary.resolve(text)[0][:MOST_WORDS] for captions in texts.values() for text in captions)
    return [known for known in numbers if known]


def load_pixels(dataset: CaptionDataset, size: int, cache: Path, report: Callable[[int, int], None]) -> Pixels:
    """Decode and resize every image once, into a file that later epochs and resumed runs map into memory.

    Returns uint8 (n, S, S, 3). `report(done, total)` is called now and then.
    """
    shape = (len(dataset.items), size, size, 3)
    if cache.exists():
        cached: Pixels = np.load(cache, mmap_mode="r")
        if cached.shape == shape:
            return cached
    partial = cache.with_suffix(".partial.npy")
    pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)

    def load(row: int) -> None:
        image = decode_image(dataset.items[row].path.read_bytes(), hint_side=size).image
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        pixels[row] = np.asarray(image)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(load, range(len(dataset.items))), start=1):
            if done % 256 == 0 or done == len(dataset.items):
                report(done, len(dataset.items))
    pixels.flush()
    partial.replace(cache)
    mapped: Pixels = np.load(cache, mmap_mode="r")
    return mapped


def augment(pixels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random crop, stretch, mirror and light of a batch: float (n, 3, S, S) in 0..1 to (n, 3, size, size).

    Hue is left alone, because captions name colours; the crop keeps at least 55 in 100 of the area, because they name
    what stands at the border too.
    """
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.55, 1.0), ratio=(0.67, 1.49)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=0.15, contrast=0.2),
        ]
    )
    with torch.random.fork_rng(devices=[]):  # torchvision takes no generator
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        return torch.stack([change(image) for image in pixels])
