"""Signing in with an API key, so that browsers can carry a cookie instead of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.http.authentication import COOKIE, Guesses, forbidden, needed_scope, peer_address, try_key
from app.keys import Key, KeyRing, session_of
from app.problems import Problem
from app.web.rendering import address, render

_YEAR = 365 * 24 * 3600

router = APIRouter()


class SignInNeeded(Exception):  # noqa: N818  # no error: the answer is the sign-in page
    """The pages are locked, and this request carries no session."""


async def signed_in(request: Request) -> None:
    """A dependency of every page: SignInNeeded without a key that may read, Problem forbidden for what it may not."""
    key: Key | None = getattr(request.state, "key", None)
    if _keys(request).locked:
        if key is None or not key.may("read"):
            raise SignInNeeded
        needed = needed_scope(request.method, request.url.path)
        if needed is not None and not key.may(needed):
            raise forbidden(key, needed)
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
    if not _keys(request).locked:
        return RedirectResponse("/", 303)
    return render(request, "sign_in.html", next=_own_path(next), problem=None)


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form(max_length=4096)] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Give the cookie for a right key: for this site only, out of reach of scripts."""
    keys = _keys(request)
    if not keys.locked:
        return RedirectResponse("/", 303)
    secret = key.strip()
    guesses: Guesses = request.app.state.guesses
    found = keys.find_random(secret) or try_key(keys, guesses, peer_address(request.scope), [secret])
    if isinstance(found, Problem):
        response = render(request, "sign_in.html", found.status, next=_own_path(next), problem=found.detail)
        response.headers.update(found.headers)
        return response
    if found is None or not found.may("read"):
        reason = "That is no key of this service." if found is None else "That key is for /metrics alone."
        return render(request, "sign_in.html", 401, next=_own_path(next), problem=reason)
    answer = RedirectResponse(_own_path(next), 303)
    answer.set_cookie(
        COOKIE,
        session_of(secret),
        max_age=_YEAR,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out")
async def sign_out() -> Response:
    """Take the cookie away."""
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _keys(request: Request) -> KeyRing:
    keys: KeyRing = request.app.state.keys
    return keys


def _own_path(path: str) -> str:
    """A path on this site, whatever was requested: signing in never redirects to another site."""
    harmless = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if harmless else "/"
