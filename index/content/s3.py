"""Content in a bucket of S3, or of whatever speaks its protocol (MinIO, Ceph): `s3://bucket/prefix`.

    PREFIX/content/ab/SHA256            the contents
    PREFIX/thumbnails/ab/SHA256.jpg
    PREFIX/damaged/                     what a repair moved aside

Endpoint, region and credentials are boto3's affair: AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and so
on.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, IncompleteReadError

from index.breaker import CircuitBreaker
from index.content.s3_reading import S3Content
from index.errors import EngineAway, EngineUnsupported, StorageFailed
from index.interfaces import ContentStat
from index.types import ContentKind, EngineState

_SHA256 = re.compile("[0-9a-f]{64}")
_WRITERS = 8  # objects written at a time by one call
_CONFIG = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},  # with back-off and jitter
    max_pool_connections=64,
    # Only what is asked for: some servers that speak the protocol do not know the newer checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_LATER = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
_RESOLUTION = 1.0
"""Seconds to which S3 knows when an object was written: 12:00:00.9 is told as 12:00:00."""


class S3ContentStore:
    """The content files in a bucket. Safe for several threads, processes and machines at once."""

    def __init__(self, url: str) -> None:
        """Work with a bucket that is there; it is not asked before it is needed. EngineUnsupported for another URL."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise EngineUnsupported("content", url, "s3://bucket/prefix")
        self._bucket = parts.netloc
        prefix = parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        # A session of its own: the default one is not made for threads.
        session = boto3.session.Session()
        self._client: Any = session.client("s3", config=_CONFIG)
        # It sends nothing. Without an endpoint, boto3 would sign for the global one, and the older way.
        self._signer: Any = session.client(
            "s3", endpoint_url=self._client.meta.endpoint_url, config=Config(signature_version="s3v4")
        )
        self._breaker = CircuitBreaker("content")
        self._client.meta.events.register("request-created.s3", self._count)

    def open(self, sha256: str, kind: ContentKind) -> S3Content:
        """Start to read an object; FileNotFoundError if there is none, or an empty one."""
        key = self._key(sha256, kind)

        def get(start: int, etag: str | None) -> Any:
            """Get the object from `start` on, if it is still this one."""
            same = {} if etag is None else {"IfMatch": etag}
            behind = {"Range": f"bytes={start}-"} if start else {}
            with self._reporting(key):
                return self._client.get_object(Bucket=self._bucket, Key=key, **same, **behind)

        return S3Content(get, lambda: self._reporting(key), self._url(key))

    def stat(self, sha256: str, kind: ContentKind) -> ContentStat | None:
        """Return what is known of an object without reading it; None if there is none, or an empty one."""
        key = self._key(sha256, kind)
        try:
            with self._reporting(key):
                head = self._client.head_object(Bucket=self._bucket, Key=key)
        except FileNotFoundError:
            return None
        return ContentStat(head["ContentLength"], head["LastModified"].timestamp()) if head["ContentLength"] else None

    def location(self, sha256: str, kind: ContentKind) -> str:
        """Return the URL of an object, for people."""
        return self._url(self._key(sha256, kind))

    def signed_url(self, sha256: str, kind: ContentKind, seconds: int, headers: Mapping[str, str]) -> str | None:
        """Return a presigned URL of an object; None if there is none, or an empty one. The headers are signed, too."""
        key = self._key(sha256, kind)
        if self.stat(sha256, kind) is None:
            return None
        forced = {f"Response{name.replace('-', '')}": value for name, value in headers.items()}
        with self._reporting(key):
            url: str = self._signer.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key, **forced}, ExpiresIn=seconds
            )
        return url

    def put_many(self, items: Mapping[str, tuple[bytes | None, bytes | None]]) -> None:
        """Store what is given for each digest. Their SHA-256 is verified here, and by S3 on arrival.

        What is there already is written again, which replaces it in one step: it counts as written now.
        """
        files: dict[str, tuple[bytes, str]] = {}
        for sha256, (content, thumbnail) in items.items():
            if content is not None:
                files[self._key(sha256, "content")] = (content, sha256)
            if thumbnail is not None:
                files[self._key(sha256, "thumbnail")] = (thumbnail, hashlib.sha256(thumbnail).hexdigest())
        with ThreadPoolExecutor(_WRITERS) as pool:
            for written in [pool.submit(self._put, key, *file) for key, file in files.items()]:
                written.result()

    def has_copy(self, sha256: str) -> bool:
        """Tell whether the content is there."""
        return self.stat(sha256, "content") is not None

    def delete(self, sha256: str) -> None:
        """Remove content and thumbnail with this digest, if they are there."""
        for key in (self._key(sha256, "content"), self._key(sha256, "thumbnail")):
            with self._reporting(key):
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def set_aside(self, sha256: str, kind: ContentKind) -> None:
        """Move a damaged object below `damaged/`."""
        key = self._key(sha256, kind)
        aside = f"{self._prefix}damaged/{key.rpartition('/')[2]}"
        try:
            with self._reporting(key):
                source = {"Bucket": self._bucket, "Key": key}
                self._client.copy_object(Bucket=self._bucket, Key=aside, CopySource=source)
                self._client.delete_object(Bucket=self._bucket, Key=key)
        except FileNotFoundError:
            return

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests of which an object was last written before `timestamp` (seconds since the epoch).

        A digest may come twice, for its content and for its thumbnail. S3 lists 1,000 objects a request.
        """
        pages = self._client.get_paginator("list_objects_v2")
        for top in self._tops():
            listing = iter(pages.paginate(Bucket=self._bucket, Prefix=top))
            while True:
                with self._reporting(top):
                    page = next(listing, None)
                if page is None:
                    break
                for entry in page.get("Contents", []):
                    sha256 = entry["Key"].rpartition("/")[2].removesuffix(".jpg")
                    written = entry["LastModified"].timestamp() + _RESOLUTION
                    if written <= timestamp and _SHA256.fullmatch(sha256):
                        yield sha256

    def engine(self) -> EngineState:
        """Return how S3 does."""
        return self._breaker.state()

    def is_empty(self) -> bool:
        """Tell whether there is nothing at all: images in place have a thumbnail at most."""
        for top in self._tops():
            with self._reporting(top):
                if self._client.list_objects_v2(Bucket=self._bucket, Prefix=top, MaxKeys=1).get("KeyCount"):
                    return False
        return True

    def sweep_unfinished(self, timestamp: float) -> int:
        """Return 0: an object is there when it is whole, and not before."""
        return 0

    def _count(self, request: Any, **_: Any) -> None:
        """Hear that a request is about to be sent; botocore says in its context which attempt it is."""
        if request.context.get("retries", {}).get("attempt", 1) > 1:
            self._breaker.retried()

    def _tops(self) -> tuple[str, str]:
        return f"{self._prefix}content/", f"{self._prefix}thumbnails/"

    def _key(self, sha256: str, kind: ContentKind) -> str:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"Not a SHA-256 in lower-case hexadecimal: {sha256!r}")
        content, thumbnails = self._tops()
        if kind == "content":
            return f"{content}{sha256[:2]}/{sha256}"
        return f"{thumbnails}{sha256[:2]}/{sha256}.jpg"

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _put(self, key: str, data: bytes, sha256: str) -> None:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageFailed(self._url(key), "what is to be stored there has another SHA-256")
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with self._reporting(key):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ChecksumSHA256=checksum)
        if answer.get("ChecksumSHA256", checksum) != checksum:
            raise StorageFailed(self._url(key), "S3 has stored something else")

    @contextmanager
    def _reporting(self, key: str) -> Iterator[None]:
        """Turn what boto3 raises into FileNotFoundError, EngineAway or StorageFailed."""
        with self._breaker.call():
            try:
                yield
            except ClientError as error:
                raise self._refused(key, error) from error
            except (HTTPClientError, ConnectionError, IncompleteReadError) as error:  # no connection, or none any more
                raise EngineAway("content", type(error).__name__) from error
            except BotoCoreError as error:
                raise StorageFailed(self._url(key), str(error)) from error

    def _refused(self, key: str, error: ClientError) -> Exception:
        told = error.response.get("Error", {})
        code = str(told.get("Code", "unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _MISSING:
            return FileNotFoundError(2, os.strerror(2), self._url(key))
        # What is in between, such as a proxy, answers without the error document of S3, which HEAD has not either.
        stranger = code.isdecimal() and error.operation_name != "HeadObject"
        if status >= 500 or status == 429 or code in _LATER or stranger:
            return EngineAway("content", f"S3 answered {code} ({status})")
        return StorageFailed(self._url(key), f"S3 answered {code} ({status})")
