"""Signing in with the API key, so that browsers can carry a cookie instead of it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.settings import Settings
from app.web.rendering import address, render

COOKIE = "visem_session"
_YEAR = 365 * 24 * 3600

router = APIRouter()


class SignInNeeded(Exception):  # noqa: N818  # no error: the answer is the sign-in page
    """The pages are locked, and this request carries no session."""


def session_of(key: str) -> str:
    """What the cookie holds: derived from the key, which nobody can get back out of it."""
    return hmac.new(key.encode(), b"visem session 1", hashlib.sha256).hexdigest()


def is_session(cookie: str, key: str) -> bool:
    """Whether a cookie was given for this key; takes the same time whatever it is."""
    return hmac.compare_digest(cookie.encode(), session_of(key).encode())


async def signed_in(request: Request) -> None:
    """A dependency of every page: SignInNeeded when a key is set and the cookie is not there."""
    key = _key(request)
    if key is not None and not is_session(request.cookies.get(COOKIE, ""), key):
        raise SignInNeeded
    request.state.may_see = True  # what notices tell, on a page that everybody gets


def to_sign_in(request: Request, error: Exception) -> Response:
    """Send a browser to the sign-in page, and back afterwards; htmx, to load the whole page anew."""
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Refresh": "true"}, media_type="text/html")
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method not in ("GET", "HEAD"):
        there = "/"
    return RedirectResponse(address("/sign-in", [("next", there)]), 303)


@router.get("/sign-in")
async def sign_in_page(request: Request, next: str = "/") -> Response:
    """The form that takes the key."""
    if _key(request) is None:
        return RedirectResponse("/", 303)
    return render(request, "sign_in.html", next=_own_path(next), wrong=False)


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form(max_length=4096)] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Give the cookie for the right key: for this site only, out of reach of scripts."""
    expected = _key(request)
    if expected is None:
        return RedirectResponse("/", 303)
    if not is_session(session_of(key.strip()), expected):
        return render(request, "sign_in.html", 401, next=_own_path(next), wrong=True)
    response = RedirectResponse(_own_path(next), 303)
    response.set_cookie(
        COOKIE,
        session_of(expected),
        max_age=_YEAR,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
async def sign_out() -> Response:
    """Take the cookie away."""
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _key(request: Request) -> str | None:
    settings: Settings = request.app.state.settings
    return None if settings.api_key is None else settings.api_key.get_secret_value()


def _own_path(path: str) -> str:
    """A path on this site, whatever was asked for: nobody is to be sent elsewhere after signing in."""
    harmless = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if harmless else "/"
