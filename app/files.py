"""Serving files that never change under their path."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

CACHE_CONTROL = "private, max-age=31536000, immutable"


def immutable_file(request: Request, path: Path, *, etag: str, media_type: str, filename: str) -> Response:
    """A file, or 304 when the client has it, or the ranges it asks for.

    `etag` is the strong entity tag without quotes. The name becomes RFC 6266's `filename` or `filename*`.
    """
    headers = _headers(etag)
    if _has(request, headers):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        path, headers=headers, media_type=media_type, filename=filename, content_disposition_type="inline"
    )


def immutable_bytes(request: Request, data: bytes, *, etag: str, media_type: str) -> Response:
    """Bytes that are in memory, or 304 when the client has them: a small file is sent in one piece, without ranges."""
    headers = _headers(etag)
    if _has(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Cache-Control": CACHE_CONTROL}


def _has(request: Request, headers: dict[str, str]) -> bool:
    """Weak comparison, as RFC 9110 prescribes for If-None-Match."""
    candidates = [
        candidate.strip().removeprefix("W/") for candidate in request.headers.get("if-none-match", "").split(",")
    ]
    return "*" in candidates or headers["ETag"] in candidates
