"""What every content store keeps; see `index.interfaces.ContentStore`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import httpx2
import pytest

from index.interfaces import ContentStore
from index.types import ContentKind
from tests.index.contract.meanwhile import look_while

KINDS: tuple[ContentKind, ...] = ("content", "thumbnail")
DATA = bytes(range(256)) * 1000
LONG = 2e10  # seconds since the epoch: long after this test


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(open_content: Callable[[], ContentStore]) -> ContentStore:
    return open_content()


def read(store: ContentStore, sha256: str, kind: ContentKind) -> bytes:
    with closing(store.open(sha256, kind)) as content:
        return content.read()


def test_what_is_put_is_there_for_everybody(store: ContentStore, open_content: Callable[[], ContentStore]) -> None:
    items = {digest(data): (data, b"small " + data) for data in (b"one", b"two", DATA)}
    store.put_many(items)
    for other in (store, open_content()):
        for sha256, files in items.items():
            for kind, data in zip(KINDS, files, strict=True):
                assert read(other, sha256, kind) == data


def test_sizes_and_times(store: ContentStore) -> None:
    before = time.time() - 2
    store.put_many({digest(DATA): (DATA, b"small")})
    for kind, size in zip(KINDS, (len(DATA), 5), strict=True):
        stat = store.stat(digest(DATA), kind)
        assert stat is not None
        assert stat.size == size
        assert before <= stat.modified <= time.time() + 2
        with closing(store.open(digest(DATA), kind)) as content:
            assert (content.size, content.modified) == (stat.size, stat.modified)


PARTS = [(0, None), (0, 10), (5, 5), (100, 70_000), (255_999, None), (255_990, 10**9), (10**6, None)]


def test_parts_of_a_file(store: ContentStore) -> None:
    store.put_many({digest(DATA): (DATA, b"small")})
    for start, end in PARTS:
        with closing(store.open(digest(DATA), "content")) as content:
            assert content.read(start, end) == DATA[start:end]


def test_one_open_file_serves_many_threads(store: ContentStore) -> None:
    store.put_many({digest(DATA): (DATA, b"small")})
    with closing(store.open(digest(DATA), "content")) as content, ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda at: content.read(at, at + 1000), range(0, len(DATA), 1000))
        assert b"".join(parts) == DATA


def test_a_path_is_that_of_the_file(store: ContentStore) -> None:
    store.put_many({digest(DATA): (DATA, b"small")})
    for kind, data in zip(KINDS, (DATA, b"small"), strict=True):
        with closing(store.open(digest(DATA), kind)) as content:
            assert content.path is None or content.path.read_bytes() == data


def test_a_signed_url_is_given_for_what_is_there_if_at_all(store: ContentStore) -> None:
    store.put_many({digest(DATA): (None, b"small")})
    assert store.signed_url(digest(DATA), "content", 60, {}) is None
    url = store.signed_url(digest(DATA), "thumbnail", 60, {"Content-Type": "image/jpeg"})
    assert url is None or httpx2.get(url).content == b"small"
    with pytest.raises(ValueError, match="SHA-256"):
        store.signed_url("../" + digest(DATA), "content", 60, {})


def test_what_is_missing(store: ContentStore) -> None:
    for kind in KINDS:
        assert store.stat(digest(b"never"), kind) is None
        assert store.location(digest(b"never"), kind)
        with pytest.raises(FileNotFoundError):
            store.open(digest(b"never"), kind)
    store.delete(digest(b"never"))


def test_what_is_open_outlives_its_deletion(store: ContentStore) -> None:
    store.put_many({digest(DATA): (DATA, b"small")})
    opened = [store.open(digest(DATA), kind) for kind in KINDS]
    first = opened[0].read(0, 1000)
    store.delete(digest(DATA))
    assert first + opened[0].read(1000) == DATA
    assert opened[1].read() == b"small"
    for content in opened:
        content.close()
        content.close()
    for kind in KINDS:
        assert store.stat(digest(DATA), kind) is None
        with pytest.raises(FileNotFoundError):
            store.open(digest(DATA), kind)


def test_opening_while_others_delete_gives_all_of_a_file_or_none(store: ContentStore) -> None:
    sha256 = digest(DATA)

    def churn() -> None:
        for _ in range(15):
            store.put_many({sha256: (DATA, b"small")})
            store.delete(sha256)

    def look() -> None:
        with suppress(FileNotFoundError):
            assert read(store, sha256, "content") == DATA

    look_while(churn, look)


def test_putting_again_changes_nothing(store: ContentStore) -> None:
    for _ in range(2):
        store.put_many({digest(DATA): (DATA, b"small")})
    assert read(store, digest(DATA), "content") == DATA
    store.put_many({})


def test_old_files_are_told_from_young_ones(store: ContentStore, tick: float) -> None:
    store.put_many({digest(b"old"): (b"old", b"small")})
    time.sleep(tick)
    between = time.time()
    time.sleep(tick)
    store.put_many({digest(b"young"): (b"young", b"small")})
    assert list(store.stored_before(between - 3600)) == []
    assert set(store.stored_before(between)) == {digest(b"old")}
    assert set(store.stored_before(LONG)) == {digest(b"old"), digest(b"young")}
    store.put_many({digest(b"old"): (b"old", b"small")})  # counts as written now: no sweep takes it
    assert set(store.stored_before(between)) == set()


def test_emptiness(store: ContentStore) -> None:
    assert store.is_empty()
    store.put_many({digest(b"x"): (b"x", b"small")})
    assert not store.is_empty()
    store.sweep_unfinished(LONG)
    assert not store.is_empty()
    store.delete(digest(b"x"))
    assert store.is_empty()


def test_only_digests_are_names(store: ContentStore) -> None:
    calls: list[Callable[[str], object]] = [
        lambda name: store.open(name, "content"),
        lambda name: store.stat(name, "thumbnail"),
        lambda name: store.location(name, "content"),
        lambda name: store.delete(name),
        lambda name: store.put_many({name: (b"x", b"t")}),
    ]
    for name in ("../../etc/passwd", "ABCDEF", "a" * 63, "a" * 65, "A" * 64, "", "a" * 63 + "\n"):
        for call in calls:
            with pytest.raises(ValueError, match="SHA-256"):
                call(name)


def test_a_thumbnail_alone(store: ContentStore) -> None:
    store.put_many({digest(DATA): (None, b"small")})
    assert read(store, digest(DATA), "thumbnail") == b"small"
    assert store.stat(digest(DATA), "content") is None
    assert not store.has_copy(digest(DATA))
    assert not store.is_empty()
    assert list(store.stored_before(LONG)) == [digest(DATA)]
    store.put_many({digest(DATA): (DATA, b"small")})
    assert store.has_copy(digest(DATA))
    store.delete(digest(DATA))
    assert store.is_empty()
