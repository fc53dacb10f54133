"""The measurements of `visem bench`. Heavy to import: only the command does."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from model.captioner import Captioner
from model.runtime.factory import torch_on_cpu
from model.space import JointSpace, space_on

REPEATS = 30
WARM_UP = 2
SECONDS = 15.0
"""After which a measurement is not repeated any more, once it has three rounds."""
BATCH = 16
PICTURE_SIZE = (500, 375)
ADD_BATCH = 1_000
CAPTIONS = 5
SENTENCE = "a dog runs along the beach with a ball in its mouth"


def torch_space(space: JointSpace) -> JointSpace | None:
    """The same bundle in torch on the processor; None where torch is missing, or cannot build its backbone."""
    runtime = torch_on_cpu() if space.device == "cpu" else None
    if runtime is None:
        return None
    other = space_on(space.bundle, runtime)
    try:
        other.embed_images([Image.new("RGB", PICTURE_SIZE)])
    except RuntimeError:  # a network that timm does not know
        return None
    return other


def model_milliseconds(spaces: Mapping[str, JointSpace]) -> dict[str, dict[str, float]]:
    """Median times of what the model does, on each of the spaces: of one bundle, on several runtimes.

    They take turns, so that whatever else the machine does hits them alike. One sentence of eleven words; a decoded
    picture, alone and in a batch of 16; five captions of one vector, where the bundle has a captioner.
    """
    pictures = [Image.open(io.BytesIO(picture(seed))).convert("RGB") for seed in range(BATCH)]
    taken: dict[str, dict[str, float]] = {name: {} for name in spaces}

    def measure(what: str, functions: Mapping[str, Callable[[], object]], repeats: int, share: int = 1) -> None:
        for name, milliseconds in _in_turns(functions, repeats).items():
            taken[name][what] = median(milliseconds) / share

    measure("text_query_ms", {name: partial(space.embed_texts, [SENTENCE]) for name, space in spaces.items()}, REPEATS)
    alone = {name: partial(space.embed_images, pictures[:1]) for name, space in spaces.items()}
    measure("image_ms", alone, 10)
    whole = {name: partial(space.embed_images, pictures) for name, space in spaces.items()}
    measure("image_in_batch_ms", whole, 5, BATCH)
    if next(iter(spaces.values())).config.captioner is not None:
        vector = next(iter(spaces.values())).embed_images(pictures[:1])
        written = {name: partial(Captioner(space).caption, vector, CAPTIONS) for name, space in spaces.items()}
        measure("captions_ms", written, 10)
    return taken


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
        search = {"search": lambda: library.search(next(queries), 10, "sentences")}
        milliseconds = _in_turns(search, REPEATS)["search"]
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


def _in_turns(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """How long each call of each function takes, after some that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    begun = time.perf_counter()
    for number in range(WARM_UP + repeats):
        if number >= WARM_UP + 3 and time.perf_counter() - begun > SECONDS:
            break
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: milliseconds[WARM_UP:] for name, milliseconds in taken.items()}
