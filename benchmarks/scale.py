"""How a library behaves as it grows: `python benchmarks/scale.py 10000 100000`. One JSON line for each size.

Each library is filled with sentences whose vectors are mixes of two vectors of texts, and noise, so that neighbours are
about as near as those of photographs. Then its index is built, and searched with other texts: time, recall@10 against
the exact answer, memory; beside it an exhaustive search by FAISS over the same vectors on one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

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


def mixes(vectors: Rows, start: int, count: int) -> Rows:
    """Vectors number `start` to `start + count`, the same each time."""
    random = np.random.default_rng([7, start])
    one, other = vectors[random.integers(len(vectors), size=(2, count))]
    share = random.uniform(0.5, 1.0, size=(count, 1)).astype(np.float32)
    mixed = share * one + (1 - share) * other
    mixed += random.normal(0, _NOISE / vectors.shape[1] ** 0.5, size=mixed.shape).astype(np.float32)
    unit: Rows = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def measure(root: Path, size: int, space: Space, vectors: Rows, queries: Rows) -> dict[str, float | int | None]:
    """Fill a library in a folder with so many vectors, build its index, and search it."""
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
    IndexFolder(folder).write_queries(space, vectors)  # other texts than those that are searched with
    begun = time.perf_counter()
    with (
        closing(open_catalog(default_url(root), None, lambda: False)) as catalog,
        closing(Builder(catalog, catalog.sentences, folder, BuildOptions())) as builder,
    ):
        builder.run()
    built = time.perf_counter() - begun

    every = np.concatenate([mixes(vectors, start, min(_BATCH, size - start)) for start in range(0, size, _BATCH)])
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(every.shape[1])
    flat.add(every)
    exact: list[float] = []
    truth = []
    for query in queries:
        begun = time.perf_counter()
        truth.append(flat.search(query[None], 10)[1][0])
        exact.append(time.perf_counter() - begun)
    del flat, every

    begun = time.perf_counter()
    with open_library(LibraryConfig(root), space) as library:
        library.search(queries[0], 10, "sentences")
        ready = time.perf_counter() - begun
        times: dict[str, list[float]] = {"search": [], "filtered": []}
        found = 0
        for query, true in zip(queries, truth, strict=True):
            begun = time.perf_counter()
            hits = library.search(query, 10, "sentences").items
            times["search"].append(time.perf_counter() - begun)
            found += len({hit.record.text for hit in hits} & {f"sentence {key}" for key in true})  # type: ignore[union-attr]
            begun = time.perf_counter()
            library.search(query, 10, "sentences", filters={"tenth": "3"})
            times["filtered"].append(time.perf_counter() - begun)
        stats = library.stats().sentence_index
    stored = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    return {
        "vectors": size,
        "added_a_second": round(size / filled),
        "longest_batch_s": round(longest, 2),
        "building_s": round(built, 1),
        "ready_s": round(ready, 2),
        "search_p50_ms": round(1000 * statistics.median(times["search"]), 2),
        "filtered_p50_ms": round(1000 * statistics.median(times["filtered"]), 2),
        "exhaustive_p50_ms": round(1000 * statistics.median(exact), 2),
        "recall_at_10": round(found / (10 * len(queries)), 4),
        "recall_told": stats.recall,
        "bytes_a_record": round(stored / size),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def main() -> None:
    """Measure the sizes on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="+")
    arguments = parser.parse_args()
    model = JointSpace.load()
    texts = sample_texts(model)
    half = len(texts) // 2
    vectors = model.embed_texts(texts[:half])
    queries = model.embed_texts(texts[half : half + _QUERIES])
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder), size, library_space(model), vectors, queries)
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
