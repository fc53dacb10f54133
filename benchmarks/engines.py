"""What engines on other machines cost a search: `python -m benchmarks.engines 100000 [--seconds 20]`. One JSON line.

The same sentences, made up as in benchmarks/scale.py, are in SQLite and in PostgreSQL. Three services run at the same
time: SQLite and FAISS, PostgreSQL and FAISS, PostgreSQL and Milvus; the last one twice, for throughput. Texts that were
never searched before are searched over HTTP, each in all three before the next one, so that whatever else the machine
does hits them alike. In the end each index is built anew by `visem reindex --vectors`, while its service is searched.
PostgreSQL, and Milvus in an environment of its own (`make milvus`), have to be installed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from app.embedding.sample_queries import sample_texts
from app.service import library_space
from benchmarks.scale import mixes
from index import LibraryConfig, NewSentence, open_library
from model.space import JointSpace
from tests.servers.milvus import MilvusServer, milvus_python
from tests.servers.postgres import PostgresServer

_BATCH = 1000
_CLIENTS = 8
_READY = 1800.0  # seconds for indexes to be built


def fill(config: LibraryConfig, size: int, space: JointSpace, vectors: np.ndarray) -> dict[str, float]:
    """Fill a library; records a second, and bytes of the catalog a record."""
    begun = time.perf_counter()
    with open_library(config, library_space(space)) as library:
        for start in range(0, size, _BATCH):
            rows = mixes(vectors, start, min(_BATCH, size - start))
            library.add_sentences([NewSentence(f"sentence {start + at}", row, {}) for at, row in enumerate(rows)])
        seconds = time.perf_counter() - begun
        return {
            "added_a_second": round(size / seconds),
            "catalog_bytes_a_record": round(library.stats().catalog_bytes / size),
        }


@contextmanager
def serving(folder: Path, port: int, settings: Mapping[str, str]) -> Iterator[int]:
    """Run a service on a port while the context lasts."""
    environment = {**os.environ, **settings, "VISEM_PORT": str(port), "VISEM_LOG_LEVEL": "warning"}
    visem = Path(sys.executable).with_name("visem")
    with (folder / f"{port}.log").open("wb") as log:
        service = subprocess.Popen([visem, "serve"], env=environment, stderr=log)  # noqa: S603
    try:
        yield port
    finally:
        service.terminate()
        service.wait(60)


class Client:
    """Searches a service for texts, in one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def search(self, text: str) -> float:
        """Search sentences for a text; milliseconds."""
        begun = time.perf_counter()
        self._ask("/v1/search?" + urlencode({"q": text, "target": "sentences", "k": 10}))
        return 1000 * (time.perf_counter() - begun)

    def wait_until_ready(self, engine: str) -> None:
        """Wait until the index of the sentences is built: of segments, or all in Milvus."""
        end = time.monotonic() + _READY
        while time.monotonic() < end:
            try:
                self.search("a dog")
                built = json.loads(self._ask("/v1/info"))["library"]["sentence_index"]["kind"] != "exact"
                if built and (engine == "faiss" or self._behind() < 2048):
                    return
            except (OSError, http.client.HTTPException):
                self._connection.close()
            time.sleep(1)
        raise TimeoutError(f"the index of {engine} is not built")

    def _behind(self) -> float:
        lines = self._ask("/metrics").decode().splitlines()
        return float(next(line for line in lines if line.startswith('visem_vectors_behind{target="sen')).split()[1])

    def _ask(self, path: str) -> bytes:
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status}: {body[:300]!r}")
        return body


def throughput(ports: Sequence[int], texts: Iterator[str], seconds: float) -> float:
    """Searches a second of several clients together, which are spread over services."""
    lock = threading.Lock()
    done = [0] * _CLIENTS
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        client = Client(ports[number % len(ports)])
        while time.monotonic() < end:
            with lock:
                text = next(texts)
            client.search(text)
            done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(done) / seconds, 1)


def rebuilding(settings: Mapping[str, str], client: Client, texts: Iterator[str]) -> dict[str, float]:
    """Build an index anew; vectors a second, and how long searches take meanwhile."""
    command = [Path(sys.executable).with_name("visem"), "reindex", "--vectors", "--json"]
    times, failed = [], 0
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(command, env={**os.environ, **settings}, stdout=output) as process:  # noqa: S603
            while process.poll() is None:
                try:
                    times.append(client.search(next(texts)))
                except http.client.HTTPException:  # an engine that is too slow for its time-out
                    failed += 1
                time.sleep(0.05)
        output.seek(0)
        built = json.load(output)["indexes"]["sentences"]
    return {
        "vectors_a_second": round(built["size"] / built["seconds"]),
        "search_p50_ms": round(statistics.median(times), 1),
        "search_p99_ms": round(float(np.percentile(times, 99)), 1),
        "searches_failed": failed,
    }


def measure(folder: Path, size: int, seconds: float, python: Path) -> dict[str, object]:
    """Fill both catalogs, start everything, and measure."""
    space = JointSpace.load()
    samples = sample_texts(space)
    vectors = space.embed_texts(samples)
    texts = (f"{samples[n % len(samples)]} {samples[(7 * n + 1) % len(samples)]}" for n in count())
    for name in ("sqlite", "postgresql", "milvus-1", "milvus-2"):
        (folder / name).mkdir()
    with ExitStack() as running:
        postgres = running.enter_context(PostgresServer("127.0.0.1"))
        url = postgres.schema("benchmark")
        filled = {
            "sqlite": fill(LibraryConfig(folder / "sqlite"), size, space, vectors),
            "postgresql": fill(LibraryConfig(folder / "postgresql", catalog=url), size, space, vectors),
        }
        milvus = running.enter_context(MilvusServer(python, folder / "milvus"))
        shared = {"VISEM_CATALOG": url}
        vectors_url = {"VISEM_VECTORS": f"milvus+http://127.0.0.1:{milvus.port}/benchmark"}
        settings = {
            "sqlite+faiss": {"VISEM_LIBRARY": str(folder / "sqlite")},
            "postgresql+faiss": {**shared, "VISEM_LIBRARY": str(folder / "postgresql")},
            "postgresql+milvus": {**shared, **vectors_url, "VISEM_LIBRARY": str(folder / "milvus-1")},
            "another replica": {**shared, **vectors_url, "VISEM_LIBRARY": str(folder / "milvus-2")},
        }
        ports = {}
        for number, (name, values) in enumerate(settings.items()):
            ports[name] = running.enter_context(serving(folder, 8391 + number, values))
            Client(ports[name]).wait_until_ready("milvus" if "VISEM_VECTORS" in values else "faiss")
        time.sleep(16)  # until searches in Milvus no longer wait for what was written last
        clients = {name: Client(port) for name, port in ports.items() if "+" in name}
        times: dict[str, list[float]] = {name: [] for name in clients}
        for turn in range(320):
            text = next(texts)
            for name, client in clients.items():
                taken = client.search(text)
                if turn >= 20:  # the first ones warm up
                    times[name].append(taken)
        pair = [ports["postgresql+milvus"], ports["another replica"]]
        one, two = [], []
        for _ in range(3):  # by turns
            one.append(throughput(pair[:1], texts, seconds))
            two.append(throughput(pair, texts, seconds))
        rebuilt = {
            name: rebuilding(settings[name], Client(ports[name]), texts) for name in clients
        }  # idle ones are closed
    return {
        "records": size,
        **filled,
        "search_p50_ms": {name: round(statistics.median(taken), 1) for name, taken in times.items()},
        "search_p95_ms": {name: round(float(np.percentile(taken, 95)), 1) for name, taken in times.items()},
        "searches_a_second": {"1 replica": statistics.median(one), "2 replicas": statistics.median(two)},
        "rebuilding": rebuilt,
    }


def main() -> None:
    """Measure the size on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", type=int)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    python = milvus_python()
    if python is None:
        parser.error("there is no Milvus: make milvus")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.size, arguments.seconds, python)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
