"""How lists, pages and the map behave with many images: `python -m benchmarks.images LIBRARY 100000`.

Fills a library (or goes on with one) with image records: small JPEGs, all different, with thumbnails, dates over
ten years, cameras, and vectors that are mixes of two vectors of texts, and noise. Their concepts are those of their
vectors. Then a service is started on it, and asked for what people scroll through and filter by. One JSON document.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import statistics
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.embedding.sample_queries import sample_texts
from app.service import library_space
from benchmarks.scale import mixes
from benchmarks.serving import serving
from index import LibraryConfig, NewImage, open_library
from index.types import PhotoFacts
from model.space import JointSpace

_BATCH = 1000
_FIRST = datetime(2015, 1, 1)  # on the clock of the place, as cameras write it
_CAMERAS = ("Canon EOS 5D", "Apple iPhone 12", "NIKON D90", "Panasonic DMC-TZ10")
_ROUNDS = 30


def _jpeg(number: int) -> bytes:
    """A small picture that no other number gives."""
    colours = np.random.default_rng([11, number]).integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).resize((64, 48), Image.Resampling.NEAREST).save(file, "JPEG", quality=85)
    return file.getvalue()


def fill(folder: Path, size: int, space: JointSpace) -> dict[str, float]:
    """Add image records until the library has so many."""
    vectors = space.embed_texts(sample_texts(space))
    begun, longest, added = time.perf_counter(), 0.0, 0
    with open_library(LibraryConfig(folder), library_space(space)) as library:
        for start in range(library.count("images"), size, _BATCH):
            rows = mixes(vectors, start, min(_BATCH, size - start))
            concepts = space.concepts.name(rows, 8) if space.concepts else [[] for _ in rows]
            images = []
            for number, (row, named) in enumerate(zip(rows, concepts, strict=True), start=start):
                jpeg = _jpeg(number)
                images.append(
                    NewImage(
                        jpeg,
                        row,
                        jpeg,
                        "image/jpeg",
                        64,
                        48,
                        filename=f"{number}.jpg",
                        concepts=[(concept[0], concept[1]) for concept in named],
                        facts=PhotoFacts(_FIRST + timedelta(minutes=47 * number), _CAMERAS[number % len(_CAMERAS)]),
                    )
                )
            before = time.perf_counter()
            added += len(library.add_images(images))
            longest = max(longest, time.perf_counter() - before)
    indexes = [file for file in (folder / "index").rglob("*") if file.is_file()]
    stored = sum(file.stat().st_size for file in (folder / "catalog.sqlite", *indexes))
    return {
        "images": size,
        "added_a_second": round(added / (time.perf_counter() - begun)),
        "longest_batch_s": round(longest, 2),
        "bytes_a_record": round(stored / size),
    }


class Client:
    """Asks a service, in one connection, and keeps how long it took."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, path: str) -> tuple[float, bytes]:
        """Milliseconds, and the body of a response."""
        begun = time.perf_counter()
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            sys.exit(f"{path}: {response.status} {body.decode()[:300]}")
        return 1000 * (time.perf_counter() - begun), body

    def median(self, paths: list[str]) -> dict[str, float]:
        """Median and longest of some requests."""
        times = [self.ask(path)[0] for path in paths]
        return {"p50_ms": round(statistics.median(times), 1), "longest_ms": round(max(times), 1)}

    def scroll(self, path: str) -> dict[str, float]:
        """The same of a list's pages, one after the other."""
        times, cursor = [], ""
        for _ in range(_ROUNDS):
            took, body = self.ask(f"{path}{cursor}")
            times.append(took)
            cursor = f"&cursor={json.loads(body)['next_cursor']}"
        return {"p50_ms": round(statistics.median(times), 1), "longest_ms": round(max(times), 1)}


def measure(port: int) -> dict[str, Any]:
    """Ask for lists, filters, the timeline and the map."""
    client = Client(port)
    words = _words(client)[:_ROUNDS]
    days = [_FIRST + timedelta(days=100 * place) for place in range(_ROUNDS)]
    ranges = [f"taken_after={day:%Y-%m-%d}&taken_before={day + timedelta(days=9):%Y-%m-%d}" for day in days]
    first, again = client.ask("/v1/map?limit=5000")[0], client.ask("/v1/map?limit=5000")[0]
    return {
        "scroll": client.scroll("/v1/images?limit=60"),
        "scroll_by_taken": client.scroll("/v1/images?limit=60&sort=taken"),
        "concept": client.median([f"/v1/images?limit=60&concept={word}" for word in words]),
        "dates": client.median([f"/v1/images?limit=60&{days}" for days in ranges]),
        "camera": client.median([f"/v1/images?limit=60&camera={_CAMERAS[2].replace(' ', '+')}"] * _ROUNDS),
        "search": client.median([f"/v1/search?q={word}+on+a+{word}&target=images" for word in words]),
        "search_with_dates": client.median(
            [f"/v1/search?q={word}+by+a+{word}&target=images&{days}" for word, days in zip(words, ranges, strict=False)]
        ),
        "front_page": client.median(["/"] * _ROUNDS),
        "timeline": client.median(["/timeline"] * _ROUNDS),
        "map_first_ms": round(first, 1),
        "map_again_ms": round(again, 1),
    }


def _words(client: Client) -> list[str]:
    """The concepts of the newest images, each once."""
    items = json.loads(client.ask("/v1/images?limit=100")[1])["items"]
    return list(dict.fromkeys(concept["word"] for item in items for concept in item["concepts"]))


def serve(folder: Path) -> dict[str, Any]:
    """Start a service on the library, measure, and stop it."""
    with serving(folder) as served:
        return {"ready_s": round(served.seconds, 1), **measure(served.port)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="A folder: new, or of an earlier run.")
    parser.add_argument("images", type=int)
    options = parser.parse_args()
    filled = fill(options.library, options.images, JointSpace.load(device="cpu"))
    sys.stdout.write(json.dumps({**filled, **serve(options.library)}) + "\n")


if __name__ == "__main__":
    main()
