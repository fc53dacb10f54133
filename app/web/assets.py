"""Style sheet, scripts and icon: read and compressed once, served under an address that changes with them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.problems import Problem

FOLDER = Path(__file__).parent / "static"
CACHE_CONTROL = "public, max-age=31536000, immutable"
ICON = "icon.svg"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}

router = APIRouter()


@dataclass(frozen=True)
class Asset:
    """A file that pages load, as it is and gzipped."""

    media_type: str
    content: bytes
    compressed: bytes


@dataclass(frozen=True)
class Assets:
    """All of them by name. `version` is a digest of everything, so that scripts can import their neighbours."""

    version: str
    files: Mapping[str, Asset]

    def url(self, name: str) -> str:
        """The address of one; KeyError when there is none of this name."""
        if name not in self.files:
            raise KeyError(name)
        return f"/assets/{self.version}/{name}"


@cache
def load() -> Assets:
    """Read every file whose kind is known, once in a process."""
    digest = hashlib.sha256()
    files: dict[str, Asset] = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix not in _TYPES:
            continue
        content = path.read_bytes()
        name = path.relative_to(FOLDER).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        files[name] = Asset(_TYPES[path.suffix], content, gzip.compress(content, 9, mtime=0))
    return Assets(digest.hexdigest()[:16], MappingProxyType(files))


def accepts_gzip(request: Request) -> bool:
    """Whether the client can read a gzipped answer."""
    codings = [part.strip() for part in request.headers.get("accept-encoding", "").split(",")]
    return any(coding.partition(";")[0] == "gzip" and not coding.endswith("q=0") for coding in codings)


@router.get("/assets/{version}/{name:path}")
def asset(request: Request, version: str, name: str) -> Response:
    """A file. That of an earlier version is not there any more: the page that wants it is to be loaded anew."""
    assets = load()
    if version != assets.version or name not in assets.files:
        raise Problem("not_found", "There is no such file in this version. Load the page again.")
    return _response(request, assets.files[name], CACHE_CONTROL)


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """The icon, where browsers look for it when they show a bare photograph."""
    assets = load()
    return _response(request, assets.files[ICON], "public, max-age=86400")


def _response(request: Request, found: Asset, cache_control: str) -> Response:
    headers = {"Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)
