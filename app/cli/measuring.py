"""The measurements of `visem bench`. Heavy to import: only the command does."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from app.embedding.batcher import batched
from app.ingest.pipeline import IncomingFile
from app.service import Service, library_space
from index import (
    LibraryConfig,
    NewSentence,
    open_library,
)
from model.space import JointSpace

REPEATS = 30
WARM_UP = 3
PICTURE_SIZE = (500, 375)
ADD_BATCH = 1_000
SENTENCE = "a dog runs along the beach with a ball in its mouth"


def text_milliseconds(space: JointSpace) -> float:
    """Median time to embed one sentence of eleven words."""
    return _median_milliseconds(lambda: space.embed_texts([SENTENCE]))


def image_milliseconds(space: JointSpace, batch: int) -> float:
    """Median time to embed a decoded picture, when `batch` of them are embedded at once."""
    pictures = [Image.open(io.BytesIO(picture(seed))).convert("RGB") for seed in range(batch)]
    return _median_milliseconds(lambda: space.embed_images(pictures), max(5, REPEATS // batch)) / batch


def ingest_rate(service: Service, count: int) -> float:
    """Pictures a second that are decoded, embedded and stored, as `visem add` does it."""
    files = [IncomingFile(f"{seed}.jpg", picture(seed)) for seed in range(count)]
    started = time.perf_counter()
    stored = sum(result.status == "created" for result in service.ingest(files))
    seconds = time.perf_counter() - started
    if stored != count:
        raise RuntimeError(f"{stored} of {count} pictures were stored")
    return stored / seconds


def search_milliseconds(root: Path, space: JointSpace, size: int) -> dict[str, Any]:
    """Search latency of a library of `size` random vectors: ten hits with their records, without embedding."""
    rng = np.random.default_rng(0)
    with open_library(LibraryConfig(root), library_space(space)) as library:
        numbers: Iterator[int] = iter(range(size))
        for batch in batched(numbers, ADD_BATCH):
            vectors = rng.standard_normal((len(batch), space.dimension), dtype=np.float32)
            library.add_sentences([NewSentence(f"sentence {n}", v) for n, v in zip(batch, vectors, strict=True)])
        queries = iter(rng.standard_normal((WARM_UP + REPEATS, space.dimension), dtype=np.float32))
        milliseconds = _milliseconds(lambda: library.search(next(queries), 10, "sentences"), REPEATS)
        kind = library.stats().sentence_index.kind
    return {
        "size": size,
        "index": kind,
        "median_ms": median(milliseconds),
        "p95_ms": float(np.percentile(milliseconds, 95)),
    }


def picture(seed: int) -> bytes:
    """A JPEG, of about the size in bytes of a photograph, and another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(PICTURE_SIZE)
    grain = rng.normal(0, 12, (PICTURE_SIZE[1], PICTURE_SIZE[0], 3))
    pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _median_milliseconds(function: Callable[[], object], repeats: int = REPEATS) -> float:
    return median(_milliseconds(function, repeats))


def _milliseconds(function: Callable[[], object], repeats: int) -> list[float]:
    """How long each call takes, after some that do not count."""
    taken: list[float] = []
    for _ in range(WARM_UP + repeats):
        started = time.perf_counter()
        function()
        taken.append(1000 * (time.perf_counter() - started))
    return taken[WARM_UP:]
