"""The ingestion pipeline behind `Service.ingest`."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from app.ingest.pipeline import IncomingFile
from app.service import Service
from index import ContentMissing, InvalidMetadata, LibraryClosed
from tests.app.helpers import picture


def incoming(*seeds: int) -> list[IncomingFile]:
    return [IncomingFile(f"{seed}.jpg", picture(seed)) for seed in seeds]


def test_results_are_in_order_and_durable(open_service: Callable[..., Service]) -> None:
    service = open_service(batch_size=4)
    results = list(service.ingest(incoming(*range(11)), {"n": 1}))
    assert [result.filename for result in results] == [f"{seed}.jpg" for seed in range(11)]
    assert {result.status for result in results} == {"created"}
    for seed, result in enumerate(results):
        assert result.record is not None
        record = service.get_image(result.record.id)
        assert record.sha256 == hashlib.sha256(picture(seed)).hexdigest()
        assert record.metadata == {"n": 1}
    assert service.library.check() == []


def test_the_stream_is_read_lazily(open_service: Callable[..., Service]) -> None:
    service = open_service(batch_size=2)
    read: list[int] = []

    def stream() -> Iterator[IncomingFile]:
        for seed in range(100):
            read.append(seed)
            yield IncomingFile(None, picture(seed))

    results = service.ingest(stream())
    assert read == []
    first = next(results)
    assert first.record is not None
    assert len(read) <= 6
    results.close()  # type: ignore[attr-defined]
    assert service.get_image(first.record.id) == first.record
    assert service.list_images().total <= 4
    assert [result.status for result in service.ingest(incoming(200))] == ["created"], "it goes on working"


def test_stopping_takes_no_longer_than_the_files_at_hand(open_service: Callable[..., Service]) -> None:
    file = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(file, "PNG")
    slow = [file.getvalue() + bytes(number) for number in range(12)]  # what follows the end makes them different
    read: list[int] = []

    def stream() -> Iterator[IncomingFile]:
        for number, data in enumerate(slow):
            read.append(number)
            yield IncomingFile(f"{number}.png", data)

    service = open_service(batch_size=4)
    results = list(service.ingest(stream(), stop=lambda: len(read) >= 8))
    assert [result.filename for result in results] == [f"{number}.png" for number in range(len(results))]
    assert len(results) < 8, "what was read and not begun is dropped"
    assert {result.status for result in results} <= {"created"}
    assert service.library.count("images") == len(results)
    assert [result.status for result in service.ingest(incoming(1))] == ["created"], "it goes on working"


def test_a_lost_file_comes_back_with_the_photograph(service: Service) -> None:
    file = IncomingFile("1.jpg", picture(1, 400, 300))
    (first,) = service.ingest([file], {"n": 1})
    assert first.record is not None
    for lost in (service.image_content, service.image_thumbnail):
        with lost(first.record.id) as opened:
            assert opened.content.path is not None
            opened.content.path.unlink()
        with pytest.raises(ContentMissing, match="add the image again"):
            lost(first.record.id)
        (again,) = service.ingest([file], {"n": 2})
        assert (again.status, again.record) == ("duplicate", first.record)
        assert service.library.check(deep=True) == []


def test_known_files_are_neither_decoded_nor_embedded_again(service: Service) -> None:
    list(service.ingest(incoming(1, 2)))
    batches: list[int] = []
    service.observe_batches(lambda kind, size, seconds: batches.append(size))
    results = list(service.ingest(incoming(1, 2, 1)))
    assert [result.status for result in results] == ["duplicate"] * 3
    assert batches == []
    results = list(service.ingest(incoming(3, 3, 3)))
    assert [result.status for result in results] == ["created", "duplicate", "duplicate"]
    assert batches == [1]


def test_duplicates_across_chunks_in_flight(open_service: Callable[..., Service]) -> None:
    service = open_service(batch_size=2)
    results = list(service.ingest(incoming(1, 2, 2, 1, 1, 3)))
    statuses = [result.status for result in results]
    assert statuses == ["created", "created", "duplicate", "duplicate", "duplicate", "created"]
    assert service.list_images().total == 3


def test_bad_files_fail_alone(service: Service) -> None:
    files = [IncomingFile("a", b""), *incoming(1), IncomingFile("b", b"junk"), IncomingFile("c", b"junk")]
    results = list(service.ingest(files))
    assert [result.status for result in results] == ["rejected", "created", "rejected", "rejected"]
    assert [result.code for result in results] == [
        "image_empty",
        None,
        "image_unreadable",
        "image_unreadable",
    ]
    assert all(result.reason for result in results if result.status == "rejected")


def test_nothing_is_something_too(service: Service) -> None:
    assert list(service.ingest([])) == []


def test_metadata_that_cannot_be_stored_stores_nothing(service: Service) -> None:
    """Front ends check what comes in; storage checks it once more."""
    with pytest.raises(InvalidMetadata):
        list(service.ingest(incoming(1), {"a": float("nan")}))
    assert service.stats().images == 0


def test_an_error_while_reading_the_files_passes_through(service: Service) -> None:
    def stream() -> Iterator[IncomingFile]:
        yield from incoming(1)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        list(service.ingest(stream()))
    assert [result.status for result in service.ingest(incoming(2))] == ["created"]


def test_a_closed_library_stops_an_ingestion(open_service: Callable[..., Service]) -> None:
    service = open_service(batch_size=1)
    results = service.ingest(incoming(*range(10)))
    next(results)
    service.library.close()
    with pytest.raises(LibraryClosed):
        list(results)


def test_several_ingestions_at_once(service: Service) -> None:
    counts: list[str] = []

    def run() -> None:
        counts.extend(result.status for result in service.ingest(incoming(*range(6))))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts.count("created") == 6
    assert counts.count("duplicate") == 12
    assert service.list_images().total == 6


def test_searching_is_possible_meanwhile(open_service: Callable[..., Service]) -> None:
    service = open_service(batch_size=4)
    done = threading.Event()

    def run() -> None:
        list(service.ingest(incoming(*range(16))))
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    started = time.monotonic()
    while not done.is_set() and time.monotonic() - started < 60:
        service.search("a dog on the beach")
    thread.join(60)
    assert len(service.search("a dog").hits) == 10
