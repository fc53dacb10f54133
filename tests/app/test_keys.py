"""Keys with names and scopes: kept without their secrets, followed by services that run, told from guesses."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.http.authentication import Guesses
from app.keys import KEYS_FILE, SCOPES, KeyFile, KeyFileError, KeyRing, Scope, session_of
from app.main import create_app
from app.service import Service
from model.space import JointSpace
from tests.app.helpers import ADDRESS, assert_problem, picture, store

CHOSEN = "correct horse battery"


@pytest.fixture
def service(open_service: Callable[..., Service], silent_space: JointSpace) -> Service:
    return open_service(space=silent_space)


@pytest.fixture
def keys(service: Service) -> KeyFile:
    """The file of keys of the service's library."""
    return KeyFile(service.settings.library)


@pytest.fixture
def clients(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | None], TestClient]]:
    """Clients of one application, each with a key."""
    monkeypatch.setattr("app.keys._CHECK_SECONDS", 0.0)
    with TestClient(create_app(service=service), base_url=ADDRESS) as running:

        def one(key: str | None) -> TestClient:
            headers = {} if key is None else {"X-API-Key": key}
            return TestClient(running.app, base_url=ADDRESS, headers=headers, raise_server_exceptions=False)

        yield one


def test_the_file_is_for_its_owner_and_lets_nobody_in(tmp_path: Path) -> None:
    secret = KeyFile(tmp_path).add("phone", "read")
    path = tmp_path / KEYS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert secret not in text
    assert session_of(secret) not in text
    ring = KeyRing(tmp_path, None)
    for value in json.loads(text)["keys"][0].values():
        assert ring.find(value) is None
        assert ring.find_session(value) is None
    assert ring.find(secret) == ring.find_session(session_of(secret)) == KeyFile(tmp_path).read()[0]


def test_what_each_scope_may(tmp_path: Path) -> None:
    allowed = {"metrics": {"metrics"}, "read": {"read"}, "write": {"read", "write"}, "admin": set(SCOPES)}
    for scope in SCOPES:
        KeyFile(tmp_path).add(scope, scope)
    for key in KeyFile(tmp_path).read():
        assert {scope for scope in SCOPES if key.may(scope)} == allowed[key.scope]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "ü"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="letters"):
        KeyFile(tmp_path).add(name, "read")


def test_a_name_is_taken_once_and_removed_once(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    keys.add("phone", "read")
    with pytest.raises(KeyFileError, match="already"):
        keys.add("phone", "admin")
    keys.remove("phone")
    with pytest.raises(KeyFileError, match="no key"):
        keys.remove("phone")
    assert keys.read() == ()


def test_a_damaged_file_is_told_and_never_taken_for_none(tmp_path: Path) -> None:
    for damage in ("", "{", "[]", '{"keys": [{"name": "x"}]}', '{"keys": [1]}'):
        (tmp_path / KEYS_FILE).write_text(damage)
        with pytest.raises(KeyFileError, match="visem key add"):
            KeyRing(tmp_path, None)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    KeyFile(elsewhere).add("theirs", "admin")
    (tmp_path / KEYS_FILE).symlink_to(elsewhere / KEYS_FILE)
    with pytest.raises(KeyFileError):
        KeyFile(tmp_path).read()


def test_no_key_of_several_that_add_at_a_time_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:  # the lock is one of open files, so threads are as good as processes
        list(pool.map(lambda n: KeyFile(tmp_path).add(f"key{n}", "read"), range(40)))
    assert len(KeyFile(tmp_path).read()) == 40


def test_a_running_service_follows_the_file_and_never_unlocks(
    keys: KeyFile, clients: Callable[[str | None], TestClient]
) -> None:
    assert clients(None).get("/v1/images").status_code == 200
    secret = keys.add("phone", "read")
    assert_problem(clients(None).get("/v1/images"), 401, "unauthorized")
    assert clients(secret).get("/v1/images").status_code == 200
    keys.path.write_text("damaged")
    assert clients(secret).get("/v1/images").status_code == 200, "the keys stay as they were"
    keys.path.unlink()
    assert_problem(clients(secret).get("/v1/images"), 401, "unauthorized")
    assert_problem(clients(None).get("/v1/images"), 401, "unauthorized")


def test_scopes_over_http(keys: KeyFile, clients: Callable[[str | None], TestClient]) -> None:
    image_id = store(clients(None), "a.jpg", picture(1))
    by_scope = {scope: clients(keys.add(scope, scope)) for scope in SCOPES}
    read, write = by_scope["read"], by_scope["write"]
    for path in ("/v1/images", f"/v1/images/{image_id}/content", "/v1/search?q=a dog", "/v1/info"):
        assert read.get(path).status_code == 200
    for path in ("/v1/search/image", "/v1/captions"):
        assert read.post(path, files={"image": ("b.jpg", picture(2))}).status_code == 200
    assert read.post("/v1/embeddings", json={"texts": ["a dog"]}).status_code == 200
    refused = [
        read.post("/v1/images", files={"files": ("c.jpg", picture(3))}),
        read.post("/v1/sentences", json={"texts": ["a dog"]}),
        read.patch(f"/v1/images/{image_id}", json={"metadata": {"a": 1}}),
        read.put(f"/v1/images/{image_id}/captions", json={"captions": ["a dog"]}),
        read.delete(f"/v1/images/{image_id}/captions"),
        read.delete(f"/v1/images/{image_id}"),
        by_scope["metrics"].get("/v1/images"),
        read.get("/metrics"),
        write.get("/metrics"),
    ]
    for response in refused:
        assert assert_problem(response, 403, "forbidden")["needed"] in SCOPES
    assert_problem(clients(None).get("/metrics"), 401, "unauthorized")
    for scope in ("metrics", "admin"):
        assert by_scope[scope].get("/metrics").status_code == 200
    assert write.delete(f"/v1/images/{image_id}").status_code == 204


def sign_in(client: TestClient, key: str) -> None:
    assert client.post("/sign-in", data={"key": key}, follow_redirects=False).status_code == 303


def test_pages_of_a_key_that_may_only_read(keys: KeyFile, clients: Callable[[str | None], TestClient]) -> None:
    image_id = store(clients(None), "a.jpg", picture(1), metadata='{"album": "holiday"}')
    scopes: tuple[Scope, ...] = ("read", "write")
    assert clients(None).put(f"/v1/images/{image_id}/captions", json={"captions": ["a stored caption"]}).is_success
    reader, writer = clients(None), clients(None)
    for client, scope in zip((reader, writer), scopes, strict=True):
        sign_in(client, keys.add(scope, scope))
    page = reader.get(f"/photos/{image_id}").text
    assert "holiday" in page
    assert "a stored caption" in page
    for change in ("/delete", "<textarea", 'method="post" hx-post', "/captions/remove"):
        assert change not in page
    assert 'href="/add"' not in page
    assert "/delete" in writer.get(f"/photos/{image_id}").text
    html = {"Accept": "text/html"}
    for attempt in (
        reader.post(f"/photos/{image_id}/delete", headers=html),
        reader.post(f"/photos/{image_id}/metadata", data={"key": "a", "value": "b"}, headers=html),
        reader.get("/add", headers=html),
    ):
        assert attempt.status_code == 403
        assert "scope read" in attempt.text
    assert reader.get(f"/v1/images/{image_id}").status_code == 200
    assert_problem(reader.delete(f"/v1/images/{image_id}"), 403, "forbidden")
    assert writer.post(f"/photos/{image_id}/delete", follow_redirects=False).status_code == 303


def test_an_empty_library_leads_nobody_in_a_circle(keys: KeyFile, clients: Callable[[str | None], TestClient]) -> None:
    client = clients(None)
    sign_in(client, keys.add("phone", "read"))
    assert client.get("/").status_code == 200


def test_a_session_ends_with_its_key(keys: KeyFile, clients: Callable[[str | None], TestClient]) -> None:
    client = clients(None)
    keys.add("other", "admin")
    sign_in(client, keys.add("phone", "read"))
    assert client.get("/model").url.path == "/model"
    keys.remove("phone")
    assert client.get("/model").url.path == "/sign-in"


def test_a_key_for_metrics_is_no_way_into_the_pages(keys: KeyFile, clients: Callable[[str | None], TestClient]) -> None:
    secret = keys.add("prometheus", "metrics")
    response = clients(None).post("/sign-in", data={"key": secret})
    assert response.status_code == 401
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("by_page", [False, True])
def test_guesses_are_slowed_down_but_shut_nobody_out(
    connect: Callable[..., TestClient], silent_space: JointSpace, by_page: bool
) -> None:
    client = connect(api_key=CHOSEN, space=silent_space)
    keys = KeyFile(client.app.state.settings.library)  # type: ignore[attr-defined]
    random = keys.add("phone", "read")
    sign_in(client, CHOSEN)
    session = dict(client.cookies)
    client.cookies.clear()

    def guess(key: str) -> int:
        if by_page:
            return client.post("/sign-in", data={"key": key}, follow_redirects=False).status_code
        return client.get("/v1/images", headers={"X-API-Key": key}).status_code

    statuses = [guess(f"wrong {n}") for n in range(Guesses.LIMIT + 20)]
    assert statuses == [401] * Guesses.LIMIT + [429] * 20
    assert guess(CHOSEN) == 429, "a guesser must not learn that it was right"
    client.cookies.clear()
    blocked = assert_problem(client.get("/v1/images", headers={"X-API-Key": CHOSEN}), 429, "too_many_attempts")
    assert "Try again" in blocked["detail"]
    assert 1 <= int(client.get("/v1/images", headers={"X-API-Key": "x"}).headers["retry-after"]) <= 61
    client.app.state.keys._looked = 0  # type: ignore[attr-defined]  # look at the file now
    assert client.get("/v1/images", headers={"X-API-Key": random}).status_code == 200
    client.cookies.update(session)
    assert client.get("/v1/images").status_code == 200


def test_guesses_are_counted_by_client_and_forgotten() -> None:
    now = 0.0
    guesses = Guesses(lambda: now)
    for _ in range(Guesses.LIMIT):
        assert guesses.wait("192.0.2.1") == 0
        guesses.count("192.0.2.1")
    assert guesses.wait("192.0.2.1") == Guesses.SECONDS
    assert guesses.wait("::ffff:192.0.2.1") == Guesses.SECONDS
    assert guesses.wait("192.0.2.2") == 0
    for n in range(Guesses.LIMIT):
        guesses.count(f"2001:db8::{n}")
    assert guesses.wait("2001:db8::ffff:1") > 0, "one customer has a /64"
    assert guesses.wait("2001:db8:0:1::1") == 0
    now = Guesses.SECONDS + 1
    assert guesses.wait("192.0.2.1") == 0
