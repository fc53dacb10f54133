"""Folders in place at size: what a first and a second pass take, what is copied, and how soon a change is followed.

    python benchmarks/sources.py photographs FOLDER --count 7000     # copies them first: some are changed and deleted
    python benchmarks/sources.py small --count 100000                # tiny files; the first pass is killed twice
    python benchmarks/sources.py second --count 100000               # only the second pass: the first one is made up

`--bundle DIR` chooses the model. It works in a temporary folder of `--work`, and prints one line for each figure.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from index import FileInPlace, LibraryConfig, NewImage, Space, open_library, signature_of
from model.bundle import Bundle
from tests.app.helpers import stored

VISEM = [sys.executable, "-c", "from app.cli import main; main()"]


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["photographs", "small", "second"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=7000)
    parser.add_argument("--bundle")
    parser.add_argument("--work", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.work) as work:
        os.environ["VISEM_LIBRARY"] = f"{work}/library"
        if chosen.bundle:
            os.environ["VISEM_BUNDLE"] = chosen.bundle
        photos = Path(work, "photos")
        if chosen.what == "small":
            write_small(photos, chosen.count)
            interrupted_first_pass(photos, chosen.count)
        elif chosen.what == "second":
            write_small(photos, chosen.count)
            make_up_first_pass(photos, Path(work, "library"), chosen.bundle)
        else:
            chosen.count = copy_some(chosen.folder, photos, chosen.count)
            figures = add(photos)
            tell("first pass", f"{figures['seconds']:.1f} s, {figures['created']:,} new")
            compare_sizes(photos, Path(work, "library"))
        second = add(photos)
        tell("second pass", f"{second['seconds']:.2f} s, {second['unchanged']:,} unchanged, {second['created']} new")
        if chosen.what == "photographs":
            follow(photos, chosen.count)


def tell(what: str, figure: str) -> None:
    """Print a figure."""
    sys.stdout.write(f"{what}: {figure}\n")
    sys.stdout.flush()


def copy_some(source: Path, photos: Path, count: int) -> int:
    """Copy photographs into 50 folders; return how many there were."""
    pictures = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})[:count]
    for number, path in enumerate(pictures):
        target = photos / f"{number % 50:02}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return len(pictures)


def write_small(photos: Path, count: int) -> None:
    """Write tiny pictures into 200 folders."""
    for number in range(count):
        path = photos / f"{number % 200:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_picture(number))


def small_picture(number: int) -> bytes:
    """A JPEG of a few hundred bytes, another one for each number."""
    buffer = io.BytesIO()
    image = Image.frombytes("RGB", (16, 16), random.Random(number).randbytes(768))  # noqa: S311
    image.save(buffer, "JPEG", quality=30)
    return buffer.getvalue()


def add(photos: Path) -> dict[str, Any]:
    """Run a pass, and return what it says."""
    finished = subprocess.run([*VISEM, "add", "--in-place", photos, "--json"], capture_output=True, check=False)  # noqa: S603
    document: dict[str, Any] = json.loads(finished.stdout)
    if finished.returncode:
        raise SystemExit(finished.stderr.decode())
    return document


def interrupted_first_pass(photos: Path, count: int) -> None:
    """Kill the first pass twice, and then let it end."""
    started = time.monotonic()
    library = Path(os.environ["VISEM_LIBRARY"])
    for part in (1, 2):
        running = subprocess.Popen([*VISEM, "add", "--in-place", photos], stderr=subprocess.DEVNULL)  # noqa: S603
        while stored(library) < part * count // 3 and running.poll() is None:
            time.sleep(2)
        running.send_signal(signal.SIGKILL)
        running.wait()
        tell(f"killed, time {part}", f"{stored(library):,} stored")
    figures = add(photos)
    tell(
        "then complete",
        f"{figures['created']:,} new, {figures['unchanged']:,} known; {time.monotonic() - started:.0f} s in all",
    )
    checked = subprocess.run([*VISEM, "info", "--check", "--json"], capture_output=True, check=False)  # noqa: S603
    library = json.loads(checked.stdout)
    tell("library", f"{library['library']['images']:,} images, problems: {library['problems']}")


def make_up_first_pass(photos: Path, library: Path, bundle: str | None) -> None:
    """Store what a first pass would have stored, with random vectors and one thumbnail for all."""
    config = Bundle.load(bundle).config
    space = Space(config.space_id, config.name, config.dimension)
    random_vectors = np.random.default_rng(0)
    with open_library(LibraryConfig(library), space) as opened:
        source = opened.sources.register(str(photos.resolve()))
        paths = sorted(path for path in photos.rglob("*.jpg"))
        for start in range(0, len(paths), 2000):
            news = []
            for path in paths[start : start + 2000]:
                file = FileInPlace(source.id, str(path.relative_to(photos)), signature_of(path.stat()))
                news.append(
                    NewImage(
                        path.read_bytes(),
                        random_vectors.standard_normal(config.dimension),
                        small_picture(0),
                        "image/jpeg",
                        16,
                        16,
                        path.name,
                        concepts=[("thing", 0.5)],
                        file=file,
                    )
                )
            opened.add_images(news)
        opened.sources.note(source.id, "ready", None, [])


def size_of(folder: Path) -> int:
    """Add up the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def compare_sizes(photos: Path, library: Path) -> None:
    """Tell how large the library is beside the photographs."""
    everything, own = size_of(photos), size_of(library)
    index, thumbnails = size_of(library / "index"), size_of(library / "thumbnails")
    with closing(sqlite3.connect(library / "catalog.sqlite")) as catalog:
        vectors = catalog.execute("select sum(length(vector)) from images").fetchone()[0]
    tell(
        "sizes",
        f"photographs {everything / 1e6:.1f} MB, library {own / 1e6:.1f} MB: thumbnails {thumbnails / 1e6:.1f}, "
        f"vector index {index / 1e6:.1f}, vectors in the catalog {vectors / 1e6:.1f}, the rest of it "
        f"{(own - thumbnails - index - vectors) / 1e6:.1f}; without vectors and index the library is "
        f"1/{everything / (own - index - vectors):.1f} of the photographs",
    )


def follow(photos: Path, count: int) -> None:
    """Change the folder under a service that watches it, and see how soon the library agrees."""
    environment = os.environ | {"VISEM_PORT": "8917", "VISEM_LOG_LEVEL": "warning"}
    service = subprocess.Popen([*VISEM, "serve"], env=environment)  # noqa: S603
    try:
        wait_until(lambda: source()["state"] == "ready" and not source()["at_work"], 600)
        time.sleep(3)
        before = images()
        files = sorted(path for path in photos.rglob("*.jpg"))
        random.Random(0).shuffle(files)  # noqa: S311
        moved, changed, deleted = files[:500], files[500:510], files[510:530]
        (photos / "moved").mkdir()
        started = time.monotonic()
        for path in moved:
            path.rename(photos / "moved" / f"m-{path.name}")
        for number, path in enumerate(changed):
            path.write_bytes(small_picture(-1 - number))
        for path in deleted:
            path.unlink()
        for number in range(30):
            (photos / f"new-{number}.jpg").write_bytes(small_picture(1000 + number))
        tell("changing the folder", f"{time.monotonic() - started:.2f} s")
        ended = time.monotonic()
        wait_until(lambda: agrees(count), 600)
        tell("the library agrees after", f"{time.monotonic() - ended:.1f} s")
        after = images()
        names = {path.name for path in moved}
        kept = sum(after.get(id) == name for id, name in before.items() if name in names)
        same = sum(id in after for id, name in before.items() if name in {path.name for path in changed})
        tell("ids kept", f"{kept} of {len(moved)} moved, {same} of {len(changed)} changed")
        photos.rename(photos.with_name("unmounted"))
        wait_until(lambda: source()["state"] == "away", 600)
        tell("not mounted", f"{total():,} images, {source()['files']['missing']} missing before and after")
        photos.with_name("unmounted").rename(photos)
        wait_until(lambda: source()["state"] == "ready" and not source()["at_work"], 600)
        lost = set(after) - set(images())
        tell("mounted again", f"{total():,} images, {len(lost)} lost")
    finally:
        service.terminate()
        service.wait()


def agrees(count: int) -> bool:
    """Tell whether the library has what the folder has."""
    files = source()["files"]
    return bool(files["present"] == count - 20 + 30 and files["missing"] == 20 and total() == count + 10)


def get(path: str) -> Any:
    """Ask the service."""
    with urllib.request.urlopen(f"http://127.0.0.1:8917{path}", timeout=60) as answer:
        return json.load(answer)


def source() -> Any:
    """Return the one source."""
    return get("/v1/sources")["items"][0]


def total() -> int:
    """Return how many images are found."""
    return int(get("/v1/images?limit=1")["total"])


def images() -> dict[str, str]:
    """Return the file names of all images by id."""
    found: dict[str, str] = {}
    cursor = ""
    while cursor is not None:
        page = get(f"/v1/images?limit=200{'&cursor=' + cursor if cursor else ''}")
        found |= {item["id"]: item["filename"] for item in page["items"]}
        cursor = page["next_cursor"]
    return found


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds; SystemExit if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.2)
    raise SystemExit("It did not happen in time.")


main()
