"""Serving files that never change under their path."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, MalformedRangeHeader, Response
from starlette.types import Receive, Scope, Send

from index import Content, ImageFile, ImageRecord

CACHE_CONTROL = "private, max-age=31536000, immutable"
CHANGING = "private, no-cache"
"""Of what may be another content the next time: a cache asks first, by the ETag."""


class ContentResponse(FileResponse):
    """A file that is open already, or the ranges of it that the client asks for; closed when it is sent.

    Starlette's response does ranges, conditions and headers. It would open a path when it is about to send, and by
    then the image may be deleted; here it reads from what is open.
    """

    def __init__(self, content: Content, *, headers: dict[str, str], media_type: str, filename: str) -> None:
        self._content = content
        super().__init__(
            os.devnull,  # never opened: see `_open_file`
            headers=headers,
            media_type=media_type,
            filename=filename,
            stat_result=_stat_result(content),
            content_disposition_type="inline",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and close it whatever happens."""
        # A server that sends files by their path would open it itself.
        extensions = {key: value for key, value in scope.get("extensions", {}).items() if "pathsend" not in key}
        try:
            await super().__call__({**scope, "extensions": extensions}, receive, send)
        finally:
            self._content.close()

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """The ranges. None, so that all is sent, for other units and for what is no range: RFC 9110, 14.2."""
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:  # instead of anyio.open_file(self.path)
        yield _Reader(self._content)


class _Reader:
    """Reads one chunk after another, away from the event loop."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = 0

    async def seek(self, position: int) -> None:
        self._position = position

    async def read(self, size: int) -> bytes:
        start, end = self._position, self._position + size
        data = await run_in_threadpool(self._content.read, start, end)
        self._position += len(data)
        return data


def _stat_result(content: Content) -> os.stat_result:
    """What Starlette wants to know of a file: that it is one, its size, and when it was written."""
    time = content.modified
    return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, content.size, time, time, time))


def immutable_file(request: Request, file: ImageFile, *, etag: str, filename: str) -> Response:
    """A file that is open, or 304 when the client has it, or the ranges it asks for. Closes the file.

    `etag` is the strong entity tag without quotes. The name becomes RFC 6266's `filename` or `filename*`.
    """
    headers = _headers(etag, cache_control(file))
    if _has(request, headers):
        file.close()
        return Response(status_code=304, headers=headers)
    try:
        return ContentResponse(file.content, headers=headers, media_type=file.media_type, filename=filename)
    except BaseException:  # a thumbnail may be made only now
        file.close()
        raise


def original_file(request: Request, file: ImageFile) -> Response:
    """The content of an image that is open, under its name; as `immutable_file`."""
    return immutable_file(request, file, etag=file.record.sha256, filename=_name(file.record))


def original_headers(record: ImageRecord) -> dict[str, str]:
    """The headers of `original_file` that somebody else can give who sends the same bytes."""
    response = FileResponse(
        os.devnull,  # never opened
        headers={"Cache-Control": CACHE_CONTROL},
        media_type=record.media_type,
        filename=_name(record),
        content_disposition_type="inline",
    )
    return {name: response.headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control")}


def immutable_bytes(request: Request, data: bytes, *, etag: str, media_type: str) -> Response:
    """Bytes that are in memory, or 304 when the client has them: a small file is sent in one piece, without ranges."""
    headers = _headers(etag)
    if _has(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)


def cache_control(file: ImageFile) -> str:
    """How long caches may keep what is made of a file."""
    return CACHE_CONTROL if file.lasting else CHANGING


def _name(record: ImageRecord) -> str:
    return record.filename or f"{record.id}.{record.media_type.partition('/')[2]}"


def _headers(etag: str, caching: str = CACHE_CONTROL) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Cache-Control": caching}


def _has(request: Request, headers: dict[str, str]) -> bool:
    """Weak comparison, as RFC 9110 prescribes for If-None-Match."""
    candidates = [
        candidate.strip().removeprefix("W/") for candidate in request.headers.get("if-none-match", "").split(",")
    ]
    return "*" in candidates or headers["ETag"] in candidates
