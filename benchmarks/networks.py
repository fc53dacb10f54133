"""How long the networks of the shipped bundle take, beside those that others use: `python -m benchmarks.networks`.

CLIP ViT-B/32 (open_clip) and VGG19 (torchvision), which the paper used, have random weights and run in torch, as they
come: time does not depend on weights. All take turns in one run.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import open_clip
import torch
from PIL import Image
from torchvision.models import vgg19

from model import threads
from model.space import JointSpace

_ROUNDS = 7
_IMAGES = 16
_TEXT = "a brown dog runs through the shallow water of a river"


def main() -> None:
    """Print a line of JSON: milliseconds of the clock, and of the processor, an image in a batch and a text alone."""
    torch.manual_seed(0)
    torch.set_num_threads(threads.available())
    space = JointSpace.load()
    clip = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    tokens = open_clip.get_tokenizer("ViT-B-32")
    vgg = vgg19(weights=None).eval()
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=np.uint8)) for _ in range(_IMAGES)]
    pixels = torch.rand(_IMAGES, 3, 224, 224)
    works: dict[str, tuple[Callable[[], object], int]] = {
        "visem, an image": (lambda: space.embed_images(images), _IMAGES),
        "CLIP ViT-B/32, an image": (lambda: clip.encode_image(pixels), _IMAGES),
        "VGG19, an image": (lambda: vgg(pixels), _IMAGES),
        "visem, a text": (lambda: space.embed_texts([_TEXT]), 1),
        "CLIP ViT-B/32, a text": (lambda: clip.encode_text(tokens([_TEXT])), 1),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    with torch.inference_mode():
        for _ in range(_ROUNDS):
            for name, (work, count) in works.items():
                work()  # the threads of the one before still wait for work, and take time from this one
                begun = time.perf_counter(), time.process_time()
                work()
                ended = time.perf_counter(), time.process_time()
                taken[name].append(tuple(1000 * (b - a) / count for a, b in zip(begun, ended, strict=True)))  # type: ignore[arg-type]
    for name, times in taken.items():
        wall, processor = (statistics.median(one) for one in zip(*times, strict=True))
        sys.stdout.write(json.dumps({name: {"ms": round(wall, 2), "processor_ms": round(processor, 2)}}) + "\n")


if __name__ == "__main__":
    main()
