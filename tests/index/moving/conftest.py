"""A library with everything that there can be in one, and all that there is in one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import Library, LibraryConfig, NewCaption, NewImage, NewSentence, Space, open_library
from index.catalog import default_url, export_rows, open_catalog
from index.types import FileInPlace, PhotoFacts, Place, Signature

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]

FACTS = PhotoFacts(
    taken=datetime(2024, 5, 1, 10, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    camera="Canon",
    lens="50 mm",
    place=Place(-33.8, 0.0),
    orientation=6,
    title="ü\N{PILE OF POO}",
    keywords=("one", "two"),
)


COUNT = 40
"""Images of which the library has a copy; there are two more in place."""
ALL = COUNT + 2


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts of a small library."""
    monkeypatch.setattr(export_rows, "_BATCH", 12)


def everything(config: LibraryConfig) -> dict[str, Any]:
    """All that a catalog says of its records, and all files, without what is particular to one library."""
    found: dict[str, Any] = {}
    url = config.catalog or default_url(config.folder)
    with closing(open_catalog(url, None, lambda: False)) as catalog, catalog.moving.snapshot() as snapshot:
        images = [
            (image, vectors[at].tobytes()) for batch, vectors in snapshot.images() for at, image in enumerate(batch)
        ]
        found["images"] = images
        lines = [
            (one, vectors[at].tobytes()) for batch, vectors in snapshot.sentences() for at, one in enumerate(batch)
        ]
        by_image = sorted((cap.image, cap.origin, cap.place, line.id) for line, _ in lines for cap in line.captions)
        found["captions"] = by_image
        found["sentences"] = [
            (line.model_copy(update={"captions": tuple(sorted(line.captions, key=lambda one: one.image))}), vector)
            for line, vector in lines
        ]
        found["files"] = [file for batch in snapshot.files() for file in batch]
        found["sources"] = snapshot.sources()
    with open_library(config) as library:
        for image, _ in images:
            for kind in ("content", "thumbnail"):
                with library.open_file(image.id, kind) as file:
                    found[f"{kind} {image.id}"] = file.content.read()
    return found


@pytest.fixture
def config(root: Path) -> LibraryConfig:
    return LibraryConfig(root)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def in_place(library: Library, image: Image, number: int, folder: Path, name: str | None = None) -> NewImage:
    made = image(number)
    path = name or f"{number}.png"
    (folder / path).write_bytes(made.content)
    status = (folder / path).stat()
    signature = Signature(status.st_size, status.st_mtime_ns, status.st_ino)
    return replace(made, file=FileInPlace(library.sources.register(str(folder)).id, path, signature))


@pytest.fixture
def stocked(config: LibraryConfig, space: Space, image: Image, sentence: Sentence, photos: Path) -> LibraryConfig:
    """A library with everything that there can be in one."""
    with open_library(config, space) as library:
        plain = [image(n) for n in range(COUNT)]
        plain[1] = image(1, facts=FACTS, metadata={"deep": {"a": [1, 2.5, None, True]}, "ü": "\x00\x10"})
        plain[2] = image(2, filename="\N{PILE OF POO}.png", concepts=[("dog", 0.25), ("cat", -0.125)])
        plain[3] = image(3, captions=4)
        added = library.add_images(plain)
        library.add_sentences([sentence(n) for n in range(20)])
        shared = NewCaption("a dog", np.ones(32), 0.75)
        for one in added[:5]:
            library.captions.add(one.record.id, [shared, NewCaption(f"number {one.record.id}", np.arange(1, 33))])
        library.captions.set(
            added[0].record.id, [NewCaption("mine", np.ones(32)), NewCaption("sentence 1", np.ones(32))]
        )
        library._catalog.pending.schedule(added[7].record.id, datetime(2100, 1, 1, tzinfo=UTC))
        odd = os.fsdecode(b"b\xe9 %41.png")
        library.add_images([in_place(library, image, 500, photos), in_place(library, image, 501, photos, odd)])
    return config
