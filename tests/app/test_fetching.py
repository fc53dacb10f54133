"""Images by address, from a server that means no good. It is on this machine: a parameter admits loopback."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.embedding.fairness import ShuttingDown
from app.fetching import MAX_REDIRECTS, Address, Fetcher, is_public
from app.problems import Problem
from model.errors import ImageError
from model.space import JointSpace
from tests.app.helpers import assert_problem, picture

HERE = ipaddress.ip_address("127.0.0.1")
Answer = Callable[[socket.socket, str], None]


class Hostile:
    """A server that answers each connection as it likes, and counts them."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plain(self, path: str, body: bytes, *headers: str, status: str = "200 OK") -> str:
        head = "".join(f"{one}\r\n" for one in headers or (f"Content-Length: {len(body)}",))
        return self.raw(path, f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    def raw(self, path: str, data: bytes) -> str:
        return self.on(path, lambda connection, _: connection.sendall(data))

    def on(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return self.url + path

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(4096)
                    if not part:
                        return
                    head += part
                self.requests.append(head.decode("latin-1"))
                self.answers[head.split()[1].decode()](connection, head.decode("latin-1"))
            except OSError:
                return

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.close()


def here(address: Address) -> bool:
    return address == HERE or is_public(address)


def fetcher(**changes: Any) -> Fetcher:
    return Fetcher(**{"max_bytes": 100_000, "admits": here, "max_seconds": 5.0, **changes})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",  # noqa: S104  # nobody listens there
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.7",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001::1",
        "2001:db8::1",
        "100::1",
        "5f00::1",
    ],
)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "100.63.255.255", "2606:4700::1111", "2a00::1"])
def test_what_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "gopher://127.0.0.1/",
        "data:image/png;base64,AA",
        "//example.org/a.jpg",
        "/etc/passwd",
        "http://",
        "http:///a.jpg",
        "http://user:secret@example.org/a.jpg",
        "http://user@example.org/a.jpg",
        "http://@example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://[::1/a.jpg",
        "http://example.org/a b.jpg",
        "http://example.org/\r\nHost: evil",
        "http://example.org\\@evil/",
        "http://ex\u00e4mple.org/",
        "http://example.org/" + "a" * 2048,
        "http://localhost/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]:8080/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
    ],
)
def test_addresses_that_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*arguments: object, **options: object) -> None:
        raise AssertionError("nobody is to be asked")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Problem) as caught:
        Fetcher(100_000).fetch(url)
    assert caught.value.code == "address_refused"


def test_a_picture_whatever_the_server_calls_it(hostile: Hostile) -> None:
    data = picture(1)
    url = hostile.plain("/my%20cat.jpg", data, "Content-Type: text/html", f"Content-Length: {len(data)}")
    assert fetcher().fetch(url + "#part") == ("my cat.jpg", data)
    request = hostile.requests[0].lower()
    assert request.startswith("get /my%20cat.jpg http/1.1")
    for private in ("cookie", "authorization", "x-api-key", "referer"):
        assert private not in request


def test_closing_fails_who_waits_at_once(hostile: Hostile) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(connection: socket.socket, head: str) -> None:
        asked.set()
        over.wait(30)

    url, fetching, failed = hostile.on("/silent", silent), fetcher(max_seconds=20.0), []

    def fetch() -> None:
        try:
            fetching.fetch(url)
        except ShuttingDown as error:
            failed.append(error)

    waiting = threading.Thread(target=fetch)
    waiting.start()
    assert asked.wait(10)
    fetching.close()
    waiting.join(5)
    over.set()
    assert len(failed) == 1
    with pytest.raises(ShuttingDown):
        fetching.fetch(url)


def test_redirects_are_followed_and_counted(hostile: Hostile) -> None:
    hostile.plain("/end", b"x")
    for n in range(MAX_REDIRECTS):
        target = "end" if n == 0 else f"r{n - 1}"
        hostile.plain(f"/r{n}", b"", f"Location: {target}", "Content-Length: 0", status="302 Found")
    assert fetcher().fetch(f"{hostile.url}/r{MAX_REDIRECTS - 1}")[1] == b"x"
    hostile.plain("/circle", b"", "Location: /circle", "Content-Length: 0", status="307 Temporary Redirect")
    with pytest.raises(Problem, match="redirected"):
        fetcher().fetch(f"{hostile.url}/circle")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/secret",
        "http://[::1]:{port}/secret",
        "http://10.0.0.1/",
        "//169.254.169.254/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1:{port}/secret",
        "http://0:{port}/",
        "http://[::1",
        "//[",
        "http://a]b/",
    ],
)
def test_a_redirect_leads_nowhere_private(hostile: Hostile, location: str) -> None:
    hostile.plain("/secret", b"secret")
    where = location.format(port=hostile.port)
    hostile.plain("/", b"", f"Location: {where}", "Content-Length: 0", status="301 Moved")
    with pytest.raises(Problem) as caught:
        Fetcher(100_000, admits=lambda address: address == HERE).fetch(hostile.url + "/")
    assert caught.value.code == "address_refused"
    assert len(hostile.requests) == 1


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names resolve to one list of addresses after the other; return the names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        if host.endswith(".example"):
            asked.append(host)
            found = answers[min(len(asked), len(answers)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]
        return real(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_is_resolved_once_and_the_connection_goes_there(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    hostile.plain("/a", b"x")
    assert fetcher().fetch(f"http://rebind.example:{hostile.port}/a")[1] == b"x"
    assert asked == ["rebind.example"]
    assert f"host: rebind.example:{hostile.port}" in hostile.requests[0].lower()


@pytest.mark.parametrize("answers", [["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], []])
def test_every_address_of_a_name_counts(hostile: Hostile, monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    _resolving(monkeypatch, answers)
    with pytest.raises(Problem) as caught:
        fetcher().fetch(f"http://mixed.example:{hostile.port}/a")
    assert caught.value.code == "address_refused"
    assert hostile.requests == []


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: over.wait(120) and [])
    try:
        with pytest.raises(Problem, match="longer than"):
            fetcher(max_seconds=0.3).fetch("http://slow.example/")
    finally:
        over.set()


def _drip(data: bytes, wait: float) -> Answer:
    def answer(connection: socket.socket, request: str) -> None:
        for n in range(len(data)):
            connection.sendall(data[n : n + 1])
            time.sleep(wait)

    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 10_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5_000,
    ],
)
def test_a_slow_server_gets_so_much_time_and_no_more(hostile: Hostile, data: bytes) -> None:
    drip = _drip(data, 0.02)

    def answer(connection: socket.socket, request: str) -> None:
        drip(connection, request)
        time.sleep(30)

    url = hostile.on("/", answer)
    started = time.monotonic()
    with pytest.raises(Problem, match="longer than"):
        fetcher(max_seconds=0.7).fetch(url)
    assert time.monotonic() - started < 20


def _endless(start: bytes, part: bytes) -> Answer:
    def answer(connection: socket.socket, request: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(part)

    return answer


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (_endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000), {"image_too_large"}),
        (_endless(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n", b"x" * 10_000), {"image_too_large"}),
        (
            _endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"ff\r\n" + b"x" * 255 + b"\r\n"),
            {"image_too_large"},
        ),
        (_endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"a" * 1000 + b"\r\n"), {"fetch_failed"}),
        (_endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), {"fetch_failed"}),
    ],
)
def test_endless_answers_end(hostile: Hostile, answer: Answer, codes: set[str]) -> None:
    started = time.monotonic()
    with pytest.raises((Problem, ImageError)) as caught:
        fetcher().fetch(hostile.on("/", answer))
    assert caught.value.code in codes
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx",
    ],
)
def test_nonsense_is_a_failure_of_the_server(hostile: Hostile, data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        fetcher().fetch(hostile.raw("/", data))
    assert caught.value.code == "fetch_failed"


def test_tls_is_demanded_where_it_is_asked_for(hostile: Hostile) -> None:
    with pytest.raises(Problem) as caught:
        fetcher().fetch(hostile.plain("/", b"x").replace("http:", "https:"))
    assert caught.value.code == "fetch_failed"


def test_only_some_at_a_time(hostile: Hostile) -> None:
    release = threading.Event()

    def answer(connection: socket.socket, request: str) -> None:
        release.wait(10)

    url = hostile.on("/", answer)
    one = fetcher()

    def ask() -> None:
        with pytest.raises(Problem):
            one.fetch(url)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(hostile.requests) < 4:
        time.sleep(0.01)
    with pytest.raises(Problem) as caught:
        one.fetch(url)
    assert (caught.value.code, caught.value.headers["Retry-After"]) == ("overloaded", "2")
    release.set()
    for thread in threads:
        thread.join()
    hostile.plain("/", b"x")
    assert one.fetch(url)[1] == b"x"


@pytest.fixture
def fetching(connect: Callable[..., TestClient], silent_space: JointSpace) -> TestClient:
    """A client of a service that fetches, also from this machine."""
    client = connect(fetch="on", space=silent_space, max_image_bytes=100_000)
    client.app.state.service._fetcher = fetcher()  # type: ignore[attr-defined]
    return client


def test_storing_and_captioning_over_http(fetching: TestClient, hostile: Hostile) -> None:
    hostile.plain("/cat.jpg", picture(1))
    hostile.plain("/page", b"<html>")
    body = {"url": f"{hostile.url}/cat.jpg", "metadata": {"album": "web"}}
    result = fetching.post("/v1/images", json=body).json()["results"][0]
    assert (result["status"], result["image"]["filename"]) == ("created", "cat.jpg")
    assert result["image"]["metadata"] == {"album": "web"}
    assert fetching.get(f"/v1/images/{result['image']['id']}/content").content == picture(1)
    assert fetching.post("/v1/images", json=body).json()["duplicates"] == 1
    assert fetching.post("/v1/captions", json={"url": body["url"]}).status_code == 200
    page = {"url": f"{hostile.url}/page"}
    assert_problem(fetching.post("/v1/images", json=page), 422, "images_rejected")
    assert_problem(fetching.post("/v1/captions", json=page), 422, "image_unreadable")
    gone = {"url": "http://127.0.0.2/"}
    for path in ("/v1/images", "/v1/captions"):
        assert_problem(fetching.post(path, json=gone), 422, "address_refused")
        assert_problem(fetching.post(path, json={"url": ""}), 422, "invalid_request")
    assert_problem(fetching.post("/v1/captions", json={}), 422, "invalid_request")
    assert_problem(fetching.post("/v1/captions", json={**page, "image_id": "x"}), 422, "invalid_request")
    assert_problem(fetching.post("/v1/images", json={**body, "metadata": []}), 422, "invalid_request")


def test_it_is_off_by_default(connect: Callable[..., TestClient], silent_space: JointSpace, hostile: Hostile) -> None:
    client = connect(space=silent_space)
    assert_problem(client.post("/v1/captions", json={"url": hostile.url}), 403, "fetch_disabled")
    detail = assert_problem(client.post("/v1/images", json={"url": hostile.url}), 415, "unsupported_media_type")[
        "detail"
    ]
    assert "VISEM_FETCH=on" in detail
    assert hostile.requests == []
