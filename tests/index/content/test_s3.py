"""What only the store on S3 has to do; the rest is in tests/index/contract/test_content.py."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from index.errors import EngineAway, EngineUnsupported, StorageFailed
from tests.servers.s3 import s3_server

LARGE = bytes(range(251)) * 40_000  # 10 MB


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def open_store(url: str) -> Any:
    from index.content.s3 import S3ContentStore

    return S3ContentStore(url)


@pytest.fixture
def bucket(s3_content: str) -> Any:
    """The bucket itself, as somebody else would look at it."""
    import boto3

    return boto3.session.Session().resource("s3").Bucket(s3_content.split("/")[2])


@pytest.fixture
def away(s3_content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment leads to where no server listens."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")


def test_objects_have_names_that_people_find(s3_content: str, bucket: Any) -> None:
    store = open_store(s3_content)
    sha256 = digest(b"one")
    store.put_many({sha256: (b"one", b"small")})
    assert {one.key for one in bucket.objects.all()} == {
        f"some/library/content/{sha256[:2]}/{sha256}",
        f"some/library/thumbnails/{sha256[:2]}/{sha256}.jpg",
    }
    assert store.location(sha256, "content") == f"{s3_content}/content/{sha256[:2]}/{sha256}"


def test_what_is_not_what_its_name_says_is_not_kept(s3_content: str, bucket: Any) -> None:
    with pytest.raises(StorageFailed):
        open_store(s3_content).put_many({digest(b"one"): (b"two", b"small")})
    assert not [one for one in bucket.objects.all() if "/content/" in one.key]


def test_a_large_object_comes_as_it_is_read(s3_content: str) -> None:
    store = open_store(s3_content)
    store.put_many({digest(LARGE): (LARGE, b"small")})
    with closing(store.open(digest(LARGE), "content")) as content:
        assert content.read(0, 100) == LARGE[:100]
        assert content.read(9_000_000, 9_000_100) == LARGE[9_000_000:9_000_100]
        assert content.read(50, 200) == LARGE[50:200]
        assert content._come < len(LARGE) // 2, "a range at the end brought everything before it"
        assert content.read() == LARGE


def test_a_large_object_outlives_its_deletion(s3_content: str) -> None:
    store = open_store(s3_content)
    store.put_many({digest(LARGE): (LARGE, b"small")})
    with closing(store.open(digest(LARGE), "content")) as content:
        store.delete(digest(LARGE))
        assert content.read(9_000_000) == LARGE[9_000_000:]
        assert content.read() == LARGE


def test_an_answer_that_breaks_off_is_asked_for_again(s3_content: str) -> None:
    from botocore.exceptions import ReadTimeoutError

    store = open_store(s3_content)
    store.put_many({digest(LARGE): (LARGE, b"small")})
    with closing(store.open(digest(LARGE), "content")) as content:
        content.read(0, 1_000_000)
        whole = content._body

        class Broken:
            def read(self, size: int) -> bytes:
                raise ReadTimeoutError(endpoint_url="http://somewhere")

            def close(self) -> None:
                whole.close()

        content._body = Broken()
        assert content.read() == LARGE


def test_damaged_objects_are_set_aside(s3_content: str, bucket: Any) -> None:
    store = open_store(s3_content)
    store.put_many({digest(b"one"): (b"one", b"small")})
    store.set_aside(digest(b"one"), "content")
    store.set_aside(digest(b"never"), "content")
    assert store.stat(digest(b"one"), "content") is None
    assert [one.get()["Body"].read() for one in bucket.objects.all() if "/damaged/" in one.key] == [b"one"]
    assert list(store.stored_before(2e10)) == [digest(b"one")]  # its thumbnail; nobody sweeps what is set aside


def test_an_empty_object_counts_as_missing(s3_content: str, bucket: Any) -> None:
    store = open_store(s3_content)
    sha256 = digest(b"one")
    bucket.put_object(Key=f"some/library/content/{sha256[:2]}/{sha256}", Body=b"")
    assert store.stat(sha256, "content") is None
    with pytest.raises(FileNotFoundError):
        store.open(sha256, "content")


def test_a_bucket_that_is_not_there_is_no_missing_file(s3_content: str) -> None:
    store = open_store("s3://no-such-bucket/library")
    with pytest.raises(StorageFailed, match="NoSuchBucket"):
        store.put_many({digest(b"one"): (b"one", b"small")})
    with pytest.raises(StorageFailed, match="NoSuchBucket"):
        store.open(digest(b"one"), "content")


@pytest.mark.usefixtures("away")
def test_a_server_that_is_away_is_told_and_not_waited_for_again(s3_content: str) -> None:
    store = open_store(s3_content)
    for _ in range(5):
        with pytest.raises(EngineAway) as caught:
            store.stat(digest(b"one"), "content")
        assert "testing" not in str(caught.value)
    state = store.engine()
    # Three calls of three attempts each; then nobody waits any more.
    assert (state.part, state.away, state.failures, state.retries) == ("content", True, 3, 6)


def test_a_server_that_goes_away(s3_content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        store = open_store(s3_content)
        with pytest.raises(StorageFailed, match="NoSuchBucket"):
            store.open(digest(b"one"), "content")
    with pytest.raises(EngineAway):
        store.put_many({digest(b"one"): (b"one", b"small")})


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://key:secret@bucket/prefix", "s3://bucket/p?x=secret"])
def test_only_a_bucket_and_a_prefix_are_a_place(s3_address: str, url: str) -> None:
    with pytest.raises(EngineUnsupported) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_what_answers_for_s3_and_is_not_s3_is_away(
    s3_content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy before it that does not understand a request, for example: disks and permissions are all right."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:  # the name of the method
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(400)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = open_store(s3_content)
        try:
            with pytest.raises(EngineAway):
                store.put_many({digest(b"one"): (None, b"small")})
        finally:
            server.shutdown()
            thread.join()
