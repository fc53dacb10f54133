"""Training data in the form that the loops read: pixels in one memory-mapped array, captions as word numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
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

from model.data.datasets import CaptionDataset
from model.images import decode_image
from model.words import Vocabulary

Pixels = npt.NDArray[np.uint8]
MOST_WORDS = 30
"""Words of a caption that training reads."""


@dataclass(frozen=True)
class TrainingSet:
    """Images (n, S, S, 3) uint8 and, for each, its captions as lists of word numbers (none of them empty).

    `guidance` (captions, 384), unit rows: the text model's vectors of all captions in a row; none without guidance.
    """

    pixels: Pixels
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
    count, _, height, width = pixels.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    side = uniform(0.55, 1.0).sqrt()
    stretch = uniform(-0.2, 0.2).exp()
    heights = (height * (side * stretch).clamp(max=1)).int()
    widths = (width * (side / stretch).clamp(max=1)).int()
    tops = ((height - heights + 1) * uniform(0, 1)).int()
    lefts = ((width - widths + 1) * uniform(0, 1)).int()
    mirrored = uniform(0, 1) < 0.5
    contrast, light = uniform(0.8, 1.2), uniform(-0.075, 0.075)
    out = torch.empty(count, 3, size, size)
    for row in range(count):
        top, left = int(tops[row]), int(lefts[row])
        crop = pixels[row : row + 1, :, top : top + int(heights[row]), left : left + int(widths[row])]
        if mirrored[row]:
            crop = crop.flip(3)
        resized = torch.nn.functional.interpolate(crop, (size, size), mode="bilinear", antialias=True)
        out[row] = ((resized[0] - 0.5) * contrast[row] + 0.5 + light[row]).clamp(0, 1)
    return out
