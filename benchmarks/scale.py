"""How a library behaves as it grows: `python benchmarks/scale.py 10000 100000`. One JSON line for each size.

Each library is filled with sentences whose vectors are mixes of two vectors of texts, and noise, so that neighbours are
about as near as those of photographs. Then its index is built, and searched with other texts: time, recall@10 against
the exact answer, memory. The same vectors are searched exhaustively by FAISS, and in a graph of USearch.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from usearch.index import Index

from app.embedding.sample_queries import sample_texts
from app.service import library_space
from index import LibraryConfig, NewSentence, open_library
from index.catalog import default_url, open_catalog
from index.types import Space
from index.vectors.faiss.building import Builder
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.options import BuildOptions
from model.space import JointSpace

_BATCH = 1000
_QUERIES = 100
_NOISE = 0.35

Rows = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]


def mixes(vectors: Rows, start: int, count: int) -> Rows:
    """Vectors number `start` to `start + count`, the same each time."""
    random = np.random.default_rng([7, start])
    one, other = vectors[random.integers(len(vectors), size=(2, count))]
    share = random.uniform(0.5, 1.0, size=(count, 1)).astype(np.float32)
    mixed = share * one + (1 - share) * other
    mixed += random.normal(0, _NOISE / vectors.shape[1] ** 0.5, size=mixed.shape).astype(np.float32)
    unit: Rows = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def fill(root: Path, size: int, space: Space, vectors: Rows, tuning: Rows) -> dict[str, float]:
    """Fill a library with so many mixes of `vectors`, and build its index, tuned by vectors of other texts."""
    begun, longest = time.perf_counter(), 0.0
    with open_library(LibraryConfig(root, exact_up_to=size), space) as library:  # what is built is built below
        for start in range(0, size, _BATCH):
            rows = mixes(vectors, start, min(_BATCH, size - start))
            news = [NewSentence(f"sentence {start + at}", row, {"tenth": at % 10}) for at, row in enumerate(rows)]
            before = time.perf_counter()
            library.add_sentences(news)
            longest = max(longest, time.perf_counter() - before)
    filled = time.perf_counter() - begun

    folder = root / "index" / "sentences"
    IndexFolder(folder).write_queries(space, tuning)
    begun = time.perf_counter()
    with (
        closing(open_catalog(default_url(root), None, lambda: False)) as catalog,
        closing(Builder(catalog, catalog.sentences, folder, BuildOptions())) as builder,
    ):
        builder.run()
    stored = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    return {
        "added_a_second": round(size / filled),
        "longest_batch_s": round(longest, 2),
        "building_s": round(time.perf_counter() - begun, 1),
        "bytes_a_record": round(stored / size),
    }


def exact(every: Rows, queries: Rows) -> tuple[list[Keys], dict[str, float]]:
    """The true ten nearest of each query, by an exhaustive search of FAISS on one thread."""
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(every.shape[1])
    flat.add(every)
    truth, times = timed(lambda query: flat.search(query[None], 10)[1][0], queries)
    return truth, {"exhaustive_p50_ms": times}


def usearch(every: Rows, queries: Rows, truth: Sequence[Keys]) -> dict[str, float]:
    """The same vectors in a graph of USearch (HNSW, half precision), with its own defaults."""
    begun, before = time.perf_counter(), anonymous()
    graph = Index(ndim=every.shape[1], metric="ip", dtype="f16")
    graph.add(np.arange(len(every)), every)
    built, held = time.perf_counter() - begun, anonymous() - before
    found, times = timed(lambda query: np.asarray(graph.search(query, 10).keys), queries)
    return {
        "usearch_building_s": round(built, 1),
        "usearch_mb": round(held),
        "usearch_p50_ms": times,
        "usearch_recall_at_10": shared(found, truth),
    }


def search(root: Path, space: Space, queries: Rows, truth: Sequence[Keys]) -> dict[str, float | None]:
    """Open the library, and search it as a service does. For a process of its own, whose memory is told."""
    begun = time.perf_counter()
    with open_library(LibraryConfig(root), space) as library:

        def names(query: Rows, **filters: str) -> Keys:
            hits = library.search(query, 10, "sentences", filters=filters).items
            return np.array([int(hit.record.text.split()[1]) for hit in hits])  # type: ignore[union-attr]

        names(queries[0])
        ready = time.perf_counter() - begun
        library.follow()  # as a service does, four times a second
        found, whole = timed(names, queries)
        _, filtered = timed(lambda query: names(query, tenth="3"), queries)
        return {
            "ready_s": round(ready, 2),
            "search_p50_ms": whole,
            "filtered_p50_ms": filtered,
            "recall_at_10": shared(found, truth),
            "recall_told": library.stats().sentence_index.recall,
            "anonymous_mb": round(anonymous()),
        }


def timed(ask: Callable[[Rows], Keys], queries: Rows) -> tuple[list[Keys], float]:
    """What is found for each query, and the median of the milliseconds that it took."""
    found, times = [], []
    for query in queries:
        begun = time.perf_counter()
        found.append(ask(query))
        times.append(time.perf_counter() - begun)
    return found, round(1000 * statistics.median(times), 2)


def shared(found: Sequence[Keys], truth: Sequence[Keys]) -> float:
    """Recall@10: the share of the true ten that were found."""
    return round(sum(len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True)) / (10 * len(truth)), 4)


def anonymous() -> float:
    """Memory of this process that it does not share with files, in MB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("RssAnon")) / 1000


def measure(
    root: Path, size: int, space: Space, vectors: Rows, tuning: Rows, queries: Rows, peers: int
) -> dict[str, float | None]:
    """All figures of one size."""
    figures: dict[str, float | None] = {"vectors": size, **fill(root, size, space, vectors, tuning)}
    every = np.concatenate([mixes(vectors, start, min(_BATCH, size - start)) for start in range(0, size, _BATCH)])
    truth, times = exact(every, queries)
    figures |= times
    if size <= peers:
        figures |= usearch(every, queries, truth)
    del every
    plain = Space(space.id, space.name, space.dimension)  # without what only the process of the model can do
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        return figures | other.submit(search, root, plain, queries, truth).result()


def main() -> None:
    """Measure the sizes on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--peers", type=int, default=100_000, help="up to this size in USearch, too: it takes minutes")
    arguments = parser.parse_args()
    model = JointSpace.load()
    texts = sample_texts(model)
    half = len(texts) // 2
    vectors = model.embed_texts(texts[:half])
    queries = model.embed_texts(texts[half : half + _QUERIES])
    tuning = model.embed_texts(texts[half + _QUERIES :])
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder), size, library_space(model), vectors, tuning, queries, arguments.peers)
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
