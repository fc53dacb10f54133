"""Builds a vector index, and is killed at its writes, one after another: `killed_builder.py FOLDER STEP`.

STEP 1: before and after every write there is; 2: before one, after the next. Each attempt is a fork. It counts what
changes a file system (renames, removals, synchronisations) and ends the process at number n, before or after it. A
second fork opens what was left, as anybody would, and finishes it. Prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from index import LibraryConfig, NewSentence, Space, open_library
from index.catalog import default_url, open_catalog
from index.interfaces import Catalog, Where
from index.vectors.faiss.building import Builder
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.index import FaissVectorIndex
from index.vectors.faiss.options import BuildOptions

SPACE = Space("a" * 64, "first-bundle", 16)
OPTIONS = BuildOptions(exact_up_to=60, seal_at=20)
KILLED = 9
MOST_SEGMENTS = 8


def vector(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=SPACE.dimension)


class Nobody:
    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


def in_fork(function: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def add(root: Path, first: int, last: int, removed: int = 0) -> None:
    with open_library(LibraryConfig(root), SPACE) as library:
        if removed:
            ids = [record.id for record in library.list_sentences(limit=200).items]
            library.delete_sentences(ids[-removed:])
        library.add_sentences([NewSentence(f"sentence {n}", vector(n)) for n in range(first, last)])


def catalog_of(root: Path) -> Any:
    return closing(open_catalog(default_url(root), None, lambda: False))


def build(catalog: Catalog, root: Path) -> None:
    with closing(Builder(catalog, catalog.sentences, root / "index" / "sentences", OPTIONS)) as builder:
        builder.run()


def build_until(root: Path, at: int, after: bool) -> None:
    """Build, and end the process at change number `at`."""
    changes = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes == at and not after:
                os._exit(KILLED)
            result = function(*arguments, **options)
            if changes == at:
                os._exit(KILLED)
            return result

        return call

    with catalog_of(root) as catalog:
        Path.replace = counted(Path.replace)  # type: ignore[method-assign]
        Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]
        os.fsync = counted(os.fsync)
        build(catalog, root)


def check(root: Path) -> None:
    """Open what was left: it has every record, whoever builds it further, and is whole."""
    with catalog_of(root) as catalog:
        for _ in range(2):
            folder = root / "index" / "sentences"
            with closing(FaissVectorIndex(catalog, catalog.sentences, folder, OPTIONS, Nobody())) as index:
                index.refresh()
                count = catalog.sentences.count({})
                query = (vector(7) / np.linalg.norm(vector(7))).astype(np.float32)
                found = index.search(query, 500, Where(), generation=1)
                assert found.total == len(set(found.keys.tolist())) == count, (found.total, len(found.keys), count)
                assert index.problems() == []
            build(catalog, root)
        assert not list(folder.glob("*.segment")) or (folder / "manifest.json").exists()


def build_whole(root: Path) -> None:
    with catalog_of(root) as catalog:
        build(catalog, root)


def segments(root: Path) -> int:
    manifest = IndexFolder(root / "index" / "sentences").manifest()
    return 0 if manifest is None else len(manifest.segments)


def fill_up_to_a_merge(root: Path, first: int) -> int:
    """Seal one segment after another until there are as many as may be; return the number of the next sentence."""
    while segments(root) < MOST_SEGMENTS:
        assert in_fork(lambda: add(root, first, first + OPTIONS.seal_at)) == 0  # noqa: B023 (it is called at once)
        assert in_fork(lambda: build_whole(root)) == 0
        first += OPTIONS.seal_at
    return first


def main(folder: Path, step: int) -> None:
    # Each is a state from which there is something to build: nothing yet, new records, one segment too many, and many
    # deleted records.
    root, counts, first = folder / "library", {}, 0
    for name, added, removed in (("train", 100, 0), ("seal", 50, 0), ("merge", 20, 0), ("purge", 1, 120)):
        if name == "merge":
            first = fill_up_to_a_merge(root, first)
        assert in_fork(lambda: add(root, first, first + added, removed)) == 0  # noqa: B023
        first += added
        before = segments(root)
        for after in (False, True):
            at = 1 + int(after) % step  # the other half of them
            while True:
                attempt = folder / "attempt"
                shutil.copytree(root, attempt)
                status = in_fork(lambda: build_until(attempt, at, after))  # noqa: B023
                assert status in (0, KILLED)
                assert in_fork(lambda: check(attempt)) == 0, f"{name}: killed at change {at}, after: {after}"  # noqa: B023
                shutil.rmtree(attempt)
                if status == 0:
                    break
                at += step
            counts[f"{name}, {'after' if after else 'before'}"] = at - step
        assert in_fork(lambda: build_whole(root)) == 0
        assert name != "merge" or segments(root) <= before, "nothing was merged"
    sys.stdout.write(json.dumps(counts) + "\n")


main(Path(sys.argv[1]), int(sys.argv[2]))
