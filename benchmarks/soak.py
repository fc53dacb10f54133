"""Does a service grow under a mixed load? `python -m benchmarks.soak LIBRARY PHOTOS --minutes 30`.

The library is copied, and served by a process of its own. Clients search, list, caption, and add and delete as many
images as they add (changed copies of the photographs, so that each is new). Twice a minute there is a line of JSON with
the memory of the service and its open files; the last one compares the end with minute ten.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from benchmarks.serving import serving

_WARM = 600.0  # seconds until the memory counts
_EVERY = 30.0
_WORDS = (
    "dog",
    "cat",
    "man",
    "child",
    "ball",
    "beach",
    "snow",
    "street",
    "car",
    "red",
    "blue",
    "runs",
    "jumps",
    "water",
)


class Client:
    """Sends one request after another, until it is told to stop."""

    def __init__(self, port: int, photos: list[Path], seed: int, counts: Counter[str], stop: threading.Event) -> None:
        self._port = port
        self._photos = photos
        self._random = random.Random(seed)  # noqa: S311  # no secret
        self._counts = counts
        self._stop = stop
        self._added: list[str] = []

    def run(self) -> None:
        """Do this and that: mostly search."""
        work = (self._search, self._search, self._search, self._list, self._caption, self._add, self._delete)
        while not self._stop.is_set():
            one = self._random.choice(work)
            try:
                status = one()
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            self._counts[f"{one.__name__.strip('_')} {status}"] += 1

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            data = response.read()
            return response.status, json.loads(data) if data else None
        finally:
            connection.close()

    def _search(self) -> int:
        text = " ".join(self._random.choices(_WORDS, k=self._random.randint(2, 9)))
        return self._ask("GET", f"/v1/search?q={quote(text)}&k={self._random.randint(1, 50)}")[0]

    def _list(self) -> int:
        return self._ask("GET", f"/v1/images?limit={self._random.randint(1, 100)}")[0]

    def _caption(self) -> int:
        content, kind = _form("image", [self._photo()])
        return self._ask("POST", "/v1/captions", content, kind)[0]

    def _add(self) -> int:
        content, kind = _form("files", [self._photo() for _ in range(self._random.randint(1, 4))])
        status, answer = self._ask("POST", "/v1/images", content, kind)
        if status < 300:
            self._added += [one["image"]["id"] for one in answer["results"] if one["status"] == "created"]
        return status

    def _delete(self) -> int:
        status = 204
        while len(self._added) > 8:
            status = self._ask("DELETE", f"/v1/images/{self._added.pop(0)}")[0]
        return status

    def _photo(self) -> bytes:
        with Image.open(self._random.choice(self._photos)) as photo:
            image = photo.convert("RGB")
        image.putpixel((0, 0), tuple(self._random.randbytes(3)))
        width = self._random.randint(200, 1200)
        buffer = io.BytesIO()
        image.resize((width, max(8, width * image.height // image.width))).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def _form(field: str, files: list[bytes]) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{at}.jpg"\r\n\r\n'.encode() + data
        for at, data in enumerate(files)
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _figures(pid: int) -> dict[str, float]:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE)
    memory = {name: round(int(kilobytes) / 1024) for name, kilobytes in found}
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"rss_mb": memory["VmRSS"], "anonymous_mb": memory["RssAnon"], "descriptors": descriptors}


def _growth(before: list[dict[str, float]], after: list[dict[str, float]]) -> dict[str, float]:
    """By which share the medians of the figures went up."""

    def median(figures: list[dict[str, float]], name: str) -> float:
        return statistics.median(one[name] for one in figures)

    return {name: round(median(after, name) / median(before, name) - 1, 4) for name in after[0]}


def _tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def soak(library: Path, photos: list[Path], minutes: float, clients: int) -> None:
    """Serve a copy of the library under load for so many minutes, and print what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "library")
        shutil.copytree(library, copy)
        with serving(copy) as served:
            counts: Counter[str] = Counter()
            stop = threading.Event()
            workers = [Client(served.port, photos, seed, counts, stop) for seed in range(clients)]
            threads = [threading.Thread(target=worker.run) for worker in workers]
            pid = served.process.pid
            _tell({"minutes": 0, **_figures(pid)})
            for thread in threads:
                thread.start()
            begun, seen = time.monotonic(), []
            while (passed := time.monotonic() - begun) < 60 * minutes and served.process.poll() is None:
                time.sleep(_EVERY)
                seen.append((passed, _figures(pid)))
                _tell({"minutes": round(passed / 60, 1), **seen[-1][1]})
            stop.set()
            for thread in threads:
                thread.join()
            time.sleep(5)
            _tell({"requests": dict(sorted(counts.items())), "quiet": _figures(pid)})
            warm = [figures for passed, figures in seen if _WARM <= passed < _WARM + 180]
            if warm:
                _tell({"growth_since_minute_ten": _growth(warm, [figures for _, figures in seen[-6:]])})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("photos", type=Path, help="A folder of JPEG files.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    soak(options.library, sorted(options.photos.glob("*.jpg"))[:500], options.minutes, options.clients)


if __name__ == "__main__":
    main()
