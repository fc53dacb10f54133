"""Objects of S3 as files to read: listed, read as a whole, or open with a position.

Endpoint, region and credentials are boto3's affair, in the environment of each node: AWS_ENDPOINT_URL_S3,
AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and so on.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.ingest.bulk.errors import BulkError
from app.ingest.files import FileUnreadError

SCHEME = "s3://"
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},  # with back-off and jitter
    max_pool_connections=32,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_ATTEMPTS = 3  # after an answer broke off
_NEAR = 1 << 20  # bytes that are rather read and dropped than asked for anew
_BUFFER = 1 << 18


class Listed(NamedTuple):
    """An object: its URL, and its size in bytes."""

    url: str
    size: int


def split(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; BulkError."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise BulkError("invalid_request", f"This is not s3://bucket/prefix: {url}")
    return parts.netloc, url[len(SCHEME) + len(parts.netloc) :].lstrip("/")


def listing(url: str) -> Iterator[Listed]:
    """The object of this URL, or else all objects below it, in alphabetical order. BulkError."""
    bucket, prefix = split(url)
    with _reporting(url):
        pages = iter(_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
        below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        while (page := next(pages, None)) is not None:
            for entry in page.get("Contents", []):
                key = entry["Key"]
                if (key == prefix or key.startswith(below)) and not key.endswith("/"):
                    yield Listed(f"{SCHEME}{bucket}/{key}", entry["Size"])


def read(url: str, max_bytes: int) -> bytes:
    """The bytes of an object. FileUnreadError, BulkError."""
    with S3File(url) as file:
        if file.size > max_bytes:
            raise FileUnreadError.too_large(file.size, max_bytes)
        return file.readall()


class S3File(io.RawIOBase):
    """An object that is open for reading. One answer of S3 is read on as long as positions only go forward."""

    def __init__(self, url: str) -> None:
        """Ask for the object. FileUnreadError if it cannot be had, BulkError if S3 is away."""
        self._url = url
        self._bucket, self._key = split(url)
        self._position = 0
        self._body: Any = None
        self._body_at = 0
        self._etag: str | None = None
        self.size = 0
        answer = self._open(0)
        self.size = answer["ContentLength"]
        self._etag = answer["ETag"]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; nothing is asked for before something is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read up to as many bytes as the buffer has room for. OSError if it cannot go on."""
        wanted = min(len(buffer), self.size - self._position)
        if wanted <= 0:
            return 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._come_to(self._position)
                part = self._body.read(wanted)
                if part:
                    break
                raise OSError(f"{self._url} ends too early")
            except (BotoCoreError, OSError) as error:  # OSError: of urllib3 as well
                self._give_up()
                if attempt == _ATTEMPTS:
                    raise BulkError("source_away", f"S3 broke off while it sent {self._url}: {error}.") from error
        buffer[: len(part)] = part
        self._position += len(part)
        self._body_at = self._position
        return len(part)

    def close(self) -> None:
        """Give up the connection. Idempotent."""
        self._give_up()
        super().close()

    def _come_to(self, position: int) -> None:
        if self._body is None or not 0 <= position - self._body_at <= _NEAR:
            self._give_up()
            self._open(position)
        while self._body_at < position:
            dropped = self._body.read(min(_BUFFER, position - self._body_at))
            if not dropped:
                raise OSError(f"{self._url} ends too early")
            self._body_at += len(dropped)

    def _open(self, start: int) -> Any:
        behind = {"Range": f"bytes={start}-"} if start else {}
        same = {"IfMatch": self._etag} if self._etag else {}
        try:
            with _reporting(self._url):
                answer = _client().get_object(Bucket=self._bucket, Key=self._key, **behind, **same)
        except _RefusedError as error:
            raise FileUnreadError("file_unreadable", f"The file cannot be read: S3 answered {error.answer}.") from error
        self._body, self._body_at = answer["Body"], start
        return answer

    def _give_up(self) -> None:
        if getattr(self, "_body", None) is not None:
            with contextlib.suppress(Exception):  # whatever the connection says: it is over
                self._body.close()
            self._body = None


class _RefusedError(BulkError):
    """What S3 said no to."""

    def __init__(self, url: str, answer: str) -> None:
        super().__init__("source_away", f"{url} cannot be read: S3 answered {answer}. Check name and permissions.")
        self.answer = answer


@cache
def _client() -> Any:
    try:
        return boto3.session.Session().client("s3", config=_CONFIG)
    except (BotoCoreError, ValueError) as error:
        raise BulkError("source_away", f"S3 cannot be asked: {error}") from error


@contextmanager
def _reporting(url: str) -> Iterator[None]:
    """Turn what boto3 raises into BulkError."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429:
            raise BulkError("source_away", f"S3 cannot read {url} now: it answered {code}. Try again later.") from error
        raise _RefusedError(url, code) from error
    except BotoCoreError as error:
        raise BulkError("source_away", f"S3 cannot be asked for {url}: {error}") from error
