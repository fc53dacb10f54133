"""Runs a scenario on a library again and again, and stops it at every write: `driver.py SHIM FOLDER STRIDE ERRNO`.

It runs with the shim preloaded, and forks a process for each point, after a rehearsal, so that none of them has to
import anything or to compile a query. A process works on a library of its own and acknowledges each step; another one
opens what is left, and compares. It prints a line for each finding, and in the end how many points there were.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from index import Library, LibraryConfig, LibraryError, NewCaption, NewSentence, Space, open_library
from tests.index.worker import DIMENSION, image

SPACE = Space("a" * 64, "first-bundle", DIMENSION)
Facts = dict[str, bool]


def vector(number: int) -> Any:
    return image(number).vector


def by_number(library: Library) -> dict[int, Any]:
    return {one.metadata["number"]: one for one in library.list_images(limit=100).items}


STEPS: tuple[tuple[str, Callable[[Library], object]], ...] = (
    ("added", lambda library: library.add_images([image(1), image(2), image(3)])),
    ("sentence", lambda library: library.add_sentences([NewSentence("a dog", vector(50), {})])),
    (
        "patched",
        lambda library: library.update_image(by_number(library)[1].id, lambda one: {**one.metadata, "album": "x"}),
    ),
    ("captioned", lambda library: library.captions.add(by_number(library)[2].id, [NewCaption("cat", vector(51), 0.5)])),
    ("more", lambda library: library.add_images([image(4)])),
    ("deleted", lambda library: library.delete_images([by_number(library)[2].id, by_number(library)[3].id])),
)


def facts(library: Library) -> Facts:
    """What is seen of each step; None of it is half done, or an error is raised."""
    images = by_number(library)
    texts = {one.text for one in library.list_sentences(limit=100).items}
    first = images.keys() & {1, 2, 3}
    gone = 1 in first and not first & {2, 3}
    if first not in (set(), {1, 2, 3}) and not gone:
        raise AssertionError(f"half an addition or deletion: {sorted(first)}")
    if "cat" in texts and 2 not in images:
        raise AssertionError("a caption outlives its image")
    for one in images.values():
        with library.open_file(one.id, "content") as file:
            assert file.content.read() == f"content {one.metadata['number']}".encode()
    return {
        "added": bool(first),
        "sentence": "a dog" in texts,
        "patched": 1 in images and images[1].metadata.get("album") == "x",
        "captioned": "cat" in texts or gone,
        "more": 4 in images,
        "deleted": gone,
    }


def scenario(folder: Path, acknowledge: Callable[[str], object]) -> None:
    with open_library(LibraryConfig(folder), SPACE) as library:
        for name, step in STEPS:
            try:
                step(library)
            except (LibraryError, KeyError, OSError):
                continue  # a disk error: not acknowledged
            acknowledge(name)


def verify(folder: Path, acknowledged: set[str]) -> None:
    with open_library(LibraryConfig(folder), SPACE) as library:
        problems = library.check(deep=True)
        assert problems == [], problems
        seen = facts(library)
        lost = sorted(name for name in acknowledged if not seen[name])
        assert not lost, f"lost: {lost}"
        assert library.add_images([image(99)])[0].created
        assert library.search(vector(99), 1, "images").items[0].record.metadata == {"number": 99}


def rehearse(folder: Path) -> None:
    """Work and look once, undisturbed: what that imports and compiles is there for every process that is forked."""
    acknowledged: set[str] = set()
    scenario(folder, acknowledged.add)
    assert acknowledged == {name for name, _ in STEPS}
    verify(folder, acknowledged)


def fork(work: Callable[[], None]) -> int:
    """Run in a process of its own; return its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            work()
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stderr.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(shim: str, where: str, stride: str, error: str) -> None:
    armed = ctypes.CDLL(shim)
    armed.torture_counted.restype = ctypes.c_long
    rehearse(Path(where) / "rehearsal")
    points = findings = 0
    at = 1
    while True:
        folder = Path(where) / "library"
        shutil.rmtree(folder, ignore_errors=True)
        reading, writing = os.pipe()

        def run(at: int = at, folder: Path = folder, writing: int = writing) -> None:
            armed.torture_arm(str(folder).encode(), ctypes.c_long(at), int(error))
            try:
                scenario(folder, lambda name: os.write(writing, f"{name} ".encode()))
            except (LibraryError, OSError):
                if not int(error):
                    raise
            os.write(writing, f"{armed.torture_counted()}".encode())

        ended = fork(run)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            words = pipe.read().split()
        counted = int(words.pop()) if words and words[-1].isdigit() else at
        if ended == 1 or fork(lambda folder=folder, words=words: verify(folder, set(words))) != 0:  # type: ignore[misc]
            findings += 1
            sys.stdout.write(f"FINDING at write {at}, errno {error}, acknowledged {words}\n")
        if ended == 0 and counted < at:
            break  # the scenario has no more writes
        points += 1
        at += int(stride)
    sys.stdout.write(f"{points} points, {findings} findings\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
