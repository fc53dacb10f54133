"""What only the store on S3 has to do; the rest is in tests/index/contract/test_content.py."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from index import LibraryConfig, Space, open_library
from index.errors import EngineAway, EngineUnsupported, StorageFailed
from index.interfaces import ContentStat
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


def test_a_library_whose_bucket_goes_says_so(s3_content: str, bucket: Any, tmp_path: Path) -> None:
    with open_library(LibraryConfig(tmp_path, content=s3_content), Space("a" * 64, "bundle", 32)) as library:
        library.ping()
        bucket.delete()
        with pytest.raises(StorageFailed, match="NoSuchBucket"):
            library.ping()


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


HEADERS = {
    "Content-Type": "image/webp",
    "Content-Disposition": "inline; filename*=utf-8''gr%C3%BCn%3B%22.webp",
    "Cache-Control": "private, max-age=60",
}


def signed_url(store: Any, data: bytes) -> str:
    url = store.signed_url(digest(data), "content", 300, HEADERS)
    assert isinstance(url, str)
    return url


def test_a_signed_url_gives_the_bytes_and_ranges_of_them_with_the_headers(s3_content: str) -> None:
    store = open_store(s3_content)
    store.put_many({digest(LARGE): (LARGE, b"small")})
    url = signed_url(store, LARGE)
    whole = httpx2.get(url)
    assert whole.content == LARGE
    assert {name: whole.headers[name] for name in HEADERS} == HEADERS
    part = httpx2.get(url, headers={"Range": "bytes=9000000-9000099"})
    assert (part.status_code, part.content) == (206, LARGE[9_000_000:9_000_100])
    assert part.headers["Content-Range"] == f"bytes 9000000-9000099/{len(LARGE)}"
    small = store.signed_url(digest(LARGE), "thumbnail", 300, {})
    assert httpx2.get(small).content == b"small"
    store.delete(digest(LARGE))
    assert httpx2.get(url).status_code in {403, 404}  # 403 where the signer may not list


def test_a_signature_is_for_this_object_these_headers_and_some_minutes(s3_content: str) -> None:
    """Whoever changes anything needs another signature. The server of these tests would not notice: it checks none."""
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    store = open_store(s3_content)
    store.put_many({digest(b"one"): (b"one", b"small")})
    url = signed_url(store, b"one")
    query = dict(parse_qsl(urlsplit(url).query))
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == ("AWS4-HMAC-SHA256", "300")

    def verifies(candidate: str) -> bool:
        """Compute the signature anew, as a server would that has the secret."""
        unsigned, _, signature = candidate.partition("&X-Amz-Signature=")
        auth = S3SigV4QueryAuth(Credentials("testing", "testing"), "s3", "us-east-1")
        request = AWSRequest("GET", unsigned)
        request.context["timestamp"] = query["X-Amz-Date"]
        text = auth.string_to_sign(request, auth.canonical_request(request))
        return auth.signature(text, request) == signature

    assert verifies(url)
    for old, new in (
        (digest(b"one"), digest(b"two")),
        ("Expires=300", "Expires=3000"),
        ("image%2Fwebp", "text%2Fhtml"),
        ("response-cache-control=private", "response-cache-control=public"),
    ):
        assert old in url
        assert not verifies(url.replace(old, new))


def test_urls_are_signed_for_the_region_of_the_bucket(s3_content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The global endpoint, for which boto3 would sign, redirects to the region, where the signature does not hold."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    store = open_store(s3_content)
    monkeypatch.setattr(store, "stat", lambda sha256, kind: ContentStat(1, 0))  # nothing is sent
    url = signed_url(store, b"one")
    assert "s3.eu-west-1.amazonaws.com" in url
    assert "%2Feu-west-1%2Fs3%2F" in url
