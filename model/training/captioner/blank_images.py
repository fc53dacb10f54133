"""Pictures of nothing: what a service is given by mistake, for fitting when a caption is not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 320
GREYS = (0, 16, 64, 128, 200, 255)


def blank_pictures(words: Sequence[str], seed: int, each: int = 12) -> list[Image.Image]:
    """Plain colours, gradients, noise, stripes, and pages of text made of `words`: `each` of a kind and six greys."""
    random = np.random.default_rng(seed)
    pictures = [Image.new("RGB", (SIDE, SIDE), (grey, grey, grey)) for grey in GREYS]
    for number in range(each):
        colours = random.integers(0, 256, (2, 3))
        red, green, blue = (int(part) for part in colours[0])
        pictures.append(Image.new("RGB", (SIDE, SIDE), (red, green, blue)))
        slope = np.linspace(0, 1, SIDE)[:, None, None]
        gradient = np.broadcast_to(colours[0] * (1 - slope) + colours[1] * slope, (SIDE, SIDE, 3))
        pictures.append(_picture(np.rot90(gradient, number % 4)))
        cells = int(random.choice([4, 8, 32, 80, 160, 320]))
        channels = 1 if number % 3 == 0 else 3
        noise = random.integers(0, 256, (cells, cells, channels))
        pictures.append(
            _picture(np.broadcast_to(noise, (cells, cells, 3))).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        )
        period = int(random.integers(4, 60))
        stripes = np.where((np.arange(SIDE) // period % 2)[:, None, None] == 0, colours[0], colours[1])
        pictures.append(_picture(np.rot90(np.broadcast_to(stripes, (SIDE, SIDE, 3)), number % 2)))
        pictures.append(_page(words, random))
    return pictures


def _picture(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels).astype(np.uint8))


def _page(words: Sequence[str], random: np.random.Generator) -> Image.Image:
    """Lines of words on a light ground, as a scanner sees them."""
    width, height = int(random.integers(400, 800)), int(random.integers(500, 1000))
    ground = int(random.integers(215, 256))
    page = Image.new("RGB", (width, height), (ground, ground, ground))
    size = float(random.integers(10, 28))
    font = ImageFont.load_default(size)
    pen = ImageDraw.Draw(page)
    top = 30.0
    while top < height - 40:
        count = int(random.integers(3, 14)) if random.random() > 0.1 else 0
        pen.text((30, top), " ".join(random.choice(words, count)), fill=(20, 20, 20), font=font)
        top += size * 1.5
    return page
