"""Templates to answers: escaping, compression, validation of caches, and the headers every page has."""

from __future__ import annotations

import calendar
import gzip
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from app.http.authentication import may
from app.ingest.folders import readable_endings
from app.problems import Problem
from app.web import assets
from app.web.assets import accepts_gzip
from model.wording import as_sentence

TEMPLATES = Path(__file__).parent / "templates"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: a photograph that was dropped, before it is sent
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "private, no-cache",
    # With `no-referrer` browsers would hide the origin of our own forms from us.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding, Accept, Cookie",
}
_WORTH_COMPRESSING = 1_000


@cache
def _environment() -> Environment:
    """The templates of this package, compiled once for all applications of a process."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # assets are read once, too, and both have to fit
    )
    environment.globals |= {"asset": assets.load().url, "accept": ",".join(("image/*", *readable_endings()))}
    environment.filters |= {
        "thousands": _thousands,
        "bytes": _bytes,
        "score": _score,
        "told": _told,
        "duration": _duration,
        "day": _day,
        "sentence": as_sentence,
    }
    return environment


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """The answer with a template: 304 if the client has the same already."""
    state = request.app.state
    page = _environment().get_template(template)
    html = page.render(
        request=request,
        path=request.url.path,
        locked=state.keys.locked,
        may_write=may(request, "write"),
        pending=state.deletions.pending() if getattr(request.state, "may_see", False) else (),
        **context,
    )
    body = html.encode()
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": etag}
    if status == 200 and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if len(body) >= _WORTH_COMPRESSING and accepts_gzip(request):
        body = gzip.compress(body, 5, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, headers, "text/html; charset=utf-8")


def address(path: str, parameters: list[tuple[str, str]]) -> str:
    """A path with query parameters."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def _duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 05 min`: as exact as an estimate is."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _day(time: datetime) -> str:
    return f"{time.day} {calendar.month_abbr[time.month]} {time.year}"


def _thousands(number: int) -> str:
    return f"{number:,}"


def _told(problem: Problem) -> str:
    """What a problem says to people: without the column, which programs use to point into the expression."""
    return problem.detail.removesuffix(f" (column {problem.members.get('column')})")


def _score(score: float) -> str:
    """Two decimals with a minus sign of its width, and none before a zero."""
    return f"{round(score, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
