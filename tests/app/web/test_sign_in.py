"""Pages behind a key, and changes which other sites ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.http.authentication import COOKIE
from app.keys import KeyRing, session_of
from app.main import create_app
from app.service import Service
from tests.app.helpers import ADDRESS, assert_problem, picture, post_images

KEY = "correct horse battery"


@pytest.fixture
def locked(connect: Callable[..., TestClient]) -> TestClient:
    return connect(api_key=KEY)


def test_pages_ask_for_the_key_and_lead_back(locked: TestClient) -> None:
    for path in ("/", "/results", "/add", "/map", "/model", "/photos/x", "/pictures/x", "/thumbnails/x.jpg"):
        response = locked.get(path, follow_redirects=False)
        assert response.status_code == 303, path
        assert response.headers["location"].startswith("/sign-in?next=%2F"), path


def test_htmx_is_told_to_load_the_page_anew(locked: TestClient) -> None:
    response = locked.get("/results", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["hx-refresh"]) == (401, "true")


def test_signing_in_and_out(locked: TestClient) -> None:
    response = locked.post("/sign-in", data={"key": KEY, "next": "/model"}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/model")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    assert locked.get("/model").status_code == 200
    assert locked.get("/v1/images").status_code == 200  # thumbnails, uploads
    locked.post("/sign-out")
    assert_problem(locked.get("/v1/images"), 401, "unauthorized")
    assert locked.get("/model").url.path == "/sign-in"


def test_a_wrong_key_is_refused(locked: TestClient) -> None:
    response = locked.post("/sign-in", data={"key": "wrong"})
    assert response.status_code == 401
    assert "That is no key of this service." in response.text
    assert "set-cookie" not in response.headers
    ring = KeyRing(Path("/nowhere"), KEY)
    assert ring.find_session(session_of(KEY)) is not None
    for cookie in ("", "x", session_of("other"), "\u00fc", KEY):
        assert ring.find_session(cookie) is None
    locked.cookies.set(COOKIE, session_of("other"))
    assert_problem(locked.get("/v1/images"), 401, "unauthorized")


def test_nobody_is_sent_elsewhere(locked: TestClient) -> None:
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\r\nb"):
        response = locked.post("/sign-in", data={"key": KEY, "next": elsewhere}, follow_redirects=False)
        assert response.headers["location"] == "/", elsewhere


def test_the_sign_in_page_tells_nothing(locked: TestClient) -> None:
    headers = {"X-API-Key": KEY}
    files = {"files": ("secret.jpg", picture(1))}
    image_id = locked.post("/v1/images", files=files, headers=headers).json()["results"][0]["image"]["id"]
    locked.app.state.deletions.schedule(image_id)  # type: ignore[attr-defined]
    assert "secret.jpg" not in locked.get("/").text
    assert "secret.jpg" not in locked.get("/nowhere", headers={"Accept": "text/html"}).text
    assert locked.get("/assets/x/y").status_code == 404


def test_without_a_key_there_is_nothing_to_sign_in_to(client: TestClient) -> None:
    assert client.get("/sign-in", follow_redirects=False).headers["location"] == "/"
    assert client.post("/sign-in", data={"key": "x"}, follow_redirects=False).headers["location"] == "/"
    assert "Sign out" not in client.get("/add").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # programs
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": ADDRESS}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of the same machine
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:81"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_our_own_pages_may_change_something(client: TestClient, headers: dict[str, str], status: int) -> None:
    files = {"files": ("a.jpg", picture(1))}
    response = client.post("/v1/images", files=files, headers=headers)
    assert response.status_code == status
    if status == 403:
        assert_problem(response, 403, "cross_site_request")
    assert client.get("/v1/images", headers=headers).status_code == 200


def test_allowed_origins_may_change_something(connect: Callable[..., TestClient]) -> None:
    client = connect(allowed_origins=["https://friend.example"])
    headers = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    files = {"files": ("a.jpg", picture(1))}
    assert client.post("/v1/images", files=files, headers=headers).status_code == 200
    assert post_images(client, ("b.jpg", picture(2))).status_code == 200


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("localhost", True),
        ("LocalHost:8000", True),
        ("127.0.0.1:9000", True),
        ("127.8.9.10", True),
        ("[::1]:8000", True),
        ("[::1]", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil@127.0.0.1", False),
        ("127.0.0.1/evil", False),
        ("192.168.0.7:8000", False),
        ("[2001:db8::1]:8000", False),
        ("[localhost", False),
        ("friend.example", False),
    ],
)
def test_without_a_key_a_page_whose_name_leads_here_reads_nothing(
    stocked: TestClient, host: str, admitted: bool
) -> None:
    for path in ("/v1/images", "/add", "/healthz", "/openapi.json"):
        response = stocked.get(path, headers={"Host": host})
        if admitted:
            assert response.status_code == 200
        else:
            detail = assert_problem(response, 421, "misdirected_request")["detail"]
            assert "VISEM_API_KEY" in detail
            assert "VISEM_ALLOWED_ORIGINS" in detail


@pytest.mark.parametrize("published", ["127.0.0.1", "[::1]", "localhost"])
def test_a_container_that_is_published_on_this_machine_alone_admits_its_names_only(
    connect: Callable[..., TestClient], published: str
) -> None:
    """It listens on all interfaces of its own, and requests come in at the address of one of them."""
    client = connect(host="0.0.0.0", published_host=published)  # noqa: S104  # inside the container
    client.base_url = "http://172.18.0.2:8000"
    assert client.get("/v1/images", headers={"Host": "localhost:8000"}).status_code == 200
    assert_problem(client.get("/v1/images", headers={"Host": "evil.example"}), 421, "misdirected_request")


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"host": "0.0.0.0", "published_host": "192.0.2.1"}, "friend.example"),  # noqa: S104  # in a container
        ({"allowed_origins": ["https://friend.example", "http://other.example:81"]}, "friend.example"),
        ({"allowed_origins": ["https://friend.example", "http://other.example:81"]}, "Other.Example:81"),
        ({"allowed_origins": ["*"]}, "friend.example"),
        ({"api_key": KEY}, "friend.example"),
        ({"host": "192.0.2.1"}, "friend.example"),
    ],
)
def test_other_names_lead_here_where_that_is_meant(
    connect: Callable[..., TestClient], settings: dict[str, Any], host: str
) -> None:
    client = connect(**settings)
    assert client.get("/v1/images", headers={"Host": host, "X-API-Key": KEY}).status_code == 200


def test_an_allowed_origin_does_not_let_others_in(connect: Callable[..., TestClient]) -> None:
    client = connect(host="::1", allowed_origins=["https://friend.example"])
    assert_problem(client.get("/v1/images", headers={"Host": "evil.example"}), 421, "misdirected_request")


def test_a_program_that_runs_the_application_itself_may_call_it_anything(service: Service) -> None:
    with TestClient(create_app(service=service), base_url="http://any-name") as client:
        assert client.get("/v1/images").status_code == 200
