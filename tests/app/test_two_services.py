"""Two services, and the command line, on one library: what each acknowledges is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.ingest.pipeline import IncomingFile
from app.service import Service
from index import NewCaption, RecordNotFound
from model.space import JointSpace
from tests.app.helpers import picture
from tests.repository import ROOT
from tests.words import WORDS

_PATCHES = """
import sys
from index import LibraryConfig, open_library
from pathlib import Path
from app.metadata import merge_patch
root, image_id, name = sys.argv[1:]
with open_library(LibraryConfig(Path(root))) as library:
    for n in range(25):
        patch = {f"{name}{n}": n}
        library.update_image(image_id, lambda record: merge_patch(record.metadata, patch))
"""


def test_no_patch_of_two_services_is_lost(open_service: Callable[..., Service], silent_space: JointSpace) -> None:
    services = [open_service(space=silent_space) for _ in range(2)]
    [added] = services[0].ingest([IncomingFile("a.jpg", picture(1))])
    assert added.record is not None
    image_id = added.record.id

    def patch(at: int) -> None:
        for n in range(25):
            services[at].patch_image(image_id, {f"{at}.{n}": n})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(patch, range(2)))
    assert len(services[0].get_image(image_id).metadata) == 50


def test_no_patch_of_two_processes_is_lost(open_service: Callable[..., Service], silent_space: JointSpace) -> None:
    service = open_service(space=silent_space)
    [added] = service.ingest([IncomingFile("a.jpg", picture(1))])
    assert added.record is not None
    command = [sys.executable, "-c", _PATCHES, str(service.settings.library), added.record.id]
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in ("a", "b")]  # noqa: S603
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(service.get_image(added.record.id).metadata) == 50
    assert service.library.check() == []


def test_a_sentence_that_somebody_stores_while_it_is_written_as_a_caption_is_theirs(
    open_service: Callable[..., Service], silent_space: JointSpace
) -> None:
    """Whoever comes first: it has no origin in the end, and stays when all its images go."""
    captioning, adding = (open_service(space=silent_space) for _ in range(2))
    words = WORDS.split()
    vectors = silent_space.embed_texts(words)
    first, second = (
        result.record.id
        for result in captioning.ingest([IncomingFile(f"{n}.jpg", picture(n)) for n in (1, 2)])
        if result.record is not None
    )

    def write(image_id: str, word: str, vector: np.ndarray) -> None:
        captioning.library.captions.add(image_id, [NewCaption(word, vector, 0.5)])

    with ThreadPoolExecutor(2) as pool:
        for word, vector in zip(words, vectors, strict=True):
            write(first, word, vector)
            both = [pool.submit(write, second, word, vector), pool.submit(adding.add_sentences, [word])]
            for one in both:
                one.result()
    for image_id in (first, second):
        assert len(captioning.image_captions(image_id)) == len(words)
        captioning.delete_image(image_id)
    kept = captioning.list_sentences(limit=50).items
    assert {record.text: record.metadata for record in kept} == {word: {} for word in words}


def test_captions_of_an_image_that_another_service_deletes_are_not_left_behind(
    open_service: Callable[..., Service], silent_space: JointSpace, tmp_path: Path
) -> None:
    captioning, deleting = (open_service(space=silent_space) for _ in range(2))
    words = WORDS.split()
    vectors = silent_space.embed_texts(words)

    def write(image_id: str, word: str, vector: np.ndarray) -> None:
        try:
            captioning.library.captions.add(image_id, [NewCaption(word, vector, 0.5)])
        except RecordNotFound:
            return

    with ThreadPoolExecutor(2) as pool:
        for word, vector in zip(words, vectors, strict=True):
            [added] = captioning.ingest([IncomingFile("a.jpg", picture(1))])
            assert added.record is not None
            both = [
                pool.submit(write, added.record.id, word, vector),
                pool.submit(deleting.delete_image, added.record.id),
            ]
            for one in both:
                one.result()
    assert captioning.list_sentences().total == 0
    assert captioning.library.check() == []


@pytest.mark.parametrize("captions", [2])
def test_two_services_share_what_is_owed(open_service: Callable[..., Service], captions: int) -> None:
    first, second = (open_service() for _ in range(2))
    files = [IncomingFile(f"{n}.jpg", picture(n)) for n in range(1, 7)]
    ids = [result.record.id for result in first.ingest(files, captions=captions) if result.record is not None]
    second.captions_kept.wake()
    for service in (first, second):
        service.captions_kept.wait()
        service.captions_kept.close()
    assert first.library.captions.owed() == 0
    assert [len(second.image_captions(image_id)) for image_id in ids] == [captions] * len(files)
