"""Connections of real sockets: nothing that comes before a key is without bounds, and nobody is shut out."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import socket
import time
from collections.abc import Callable

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.http.clients import client_name
from app.http.connections import MAX_HEAD_BYTES, Connection
from tests.app.helpers import picture
from tests.app.listening import Listening, answer, closing_all

KEY = "a key of some length"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def send_all(connection: socket.socket, data: bytes, times: int = 1) -> int:
    """Send until it is refused; how many pieces went out."""
    for sent in range(times):
        try:
            connection.sendall(data)
        except ConnectionError:
            return sent
    return times


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("start", [b"X: ", b"GET /"], ids=["header", "address"])
def test_a_head_is_bounded_before_the_key_is_asked_for(listen: Callable[..., Listening], start: bytes) -> None:
    server = listen(api_key=KEY)
    with server.connect() as connection:
        connection.sendall(start if start.startswith(b"GET") else GET + start)
        begun = time.monotonic()
        pieces = send_all(connection, b"x" * 2**20, 64)
        assert pieces < 64, "it is not read to its end"
        assert time.monotonic() - begun < 15
    with server.connect() as connection:
        connection.sendall((start if start.startswith(b"GET") else GET + start) + b"x" * (MAX_HEAD_BYTES + 40_000))
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["code"] == "head_too_large"


def test_many_small_headers_and_trailers_are_bounded(listen: Callable[..., Listening]) -> None:
    server = listen()
    with server.connect() as connection:
        send_all(connection, GET + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n")
        assert b" 431 " in answer(connection)[:20]
    with server.connect() as connection:
        connection.sendall(b"POST /v1/sentences HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                           b"Content-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n")  # fmt: skip
        assert send_all(connection, b"X: " + b"y" * 2**20 + b"\r\n", 64) < 64
    assert server.get("/healthz")[0] == 200


def test_a_large_head_that_is_allowed_and_a_body_in_one_piece_are_read(listen: Callable[..., Listening]) -> None:
    server = listen()
    body = json.dumps({"texts": ["a dog"] * 256}).encode() + b" " * 200_000
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"X-Long: " + b"x" * 40_000 + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with server.connect() as connection:
        connection.sendall(head + body)
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_what_is_received_of_a_body_is_parsed_at_once_where_its_length_is_known(
    listen: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    pieces: list[int] = []
    parse = Connection._parse

    def counted(connection: Connection, data: bytes) -> None:
        pieces.append(len(data))
        parse(connection, data)

    monkeypatch.setattr(Connection, "_parse", counted)
    server = listen()
    body = json.dumps({"texts": ["a dog"]}).encode() + b" " * 2_000_000
    framing = b"Content-Length: %d" % len(body) if announced else b"Transfer-Encoding: chunked"
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        + framing
        + b"\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head + (body if announced else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))
        assert answer(connection).startswith(b"HTTP/1.1 200 ")
    assert (max(pieces) > 16 * 1024) == announced, "or a head behind it would be too large before that is seen"


POST = b"POST /v1/sentences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
        b"\x00" * (MAX_HEAD_BYTES + 40_000),
    ],
    ids=["method", "two lengths", "length and chunks", "size of a chunk", "not ASCII", "CONNECT", "long"],
)
def test_what_is_no_http_is_answered_with_a_problem_and_logged_once(
    listen: Callable[..., Listening], caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    server = listen()
    with caplog.at_level("INFO"):
        with server.connect() as connection:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            head, _, body = answer(connection).partition(b"\r\n\r\n")
        server.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "invalid_request")
    assert "HTTP/1.1" in problem["detail"]
    [entry] = [record for record in caplog.records if record.message == "a connection was refused"]
    assert entry.fields["client"] == "127.0.0.1"  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_another_protocol_is_not_taken_up_and_no_warning(
    listen: Callable[..., Listening], caplog: pytest.LogCaptureFixture, protocol: bytes
) -> None:
    server = listen()
    with caplog.at_level("INFO"), server.connect() as connection:
        for _ in range(2):  # the connection stays usable
            connection.sendall(GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_idle_connections_shut_nobody_out(listen: Callable[..., Listening]) -> None:
    server = listen(max_connections=60, max_client_connections=20, head_timeout=60)
    with closing_all() as held:
        for address in range(2, 8):
            for number in range(40):
                connection = server.connect(f"127.0.0.{address}")
                if number % 2:
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(GET)  # a head that never ends
                held.append(connection)
        assert server.get("/healthz", "127.0.0.9")[0] == 200, "another client has room"
        assert server.get("/healthz", "127.0.0.2")[0] == 200, "the oldest of its own make room"
        assert server.connections <= 60


def test_making_room_cuts_off_no_answer(listen: Callable[..., Listening]) -> None:
    server = listen(max_client_connections=2)
    with closing_all() as held, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        wait_for(lambda: server.connections)
        server.hold_back()
        slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: server.unsent)
        held.append(server.connect())
        for _ in range(3):  # each takes the place of the one before, and not of the older one with the answer
            assert server.get("/healthz")[0] == 200
        slow.settimeout(30)
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert json.loads(response.read())["openapi"]


def test_a_client_whose_connections_are_all_at_work_is_told_so(listen: Callable[..., Listening]) -> None:
    server = listen(max_client_connections=2)
    with closing_all() as held:
        for _ in range(2):
            held.append(server.connect())
            held[-1].sendall(
                b"POST /v1/sentences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
        time.sleep(0.2)
        with server.connect() as third:
            started = time.monotonic()
            head, _, body = answer(third).partition(b"\r\n\r\n")
            assert time.monotonic() - started < 15
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in head
        assert json.loads(body)["code"] == "overloaded"
        assert server.get("/healthz", "127.0.0.2")[0] == 200


def test_a_head_and_a_body_have_to_come_in_time(listen: Callable[..., Listening]) -> None:
    server = listen(head_timeout=0.5, body_timeout=0.5)
    with closing_all() as held:
        silent, slow_head, slow_body = (server.connect() for _ in range(3))
        held += [silent, slow_head, slow_body]
        slow_head.sendall(GET)
        slow_body.sendall(
            b"POST /v1/sentences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        started = time.monotonic()
        assert answer(silent) == b""
        for slow in (slow_head, slow_body):
            head, _, body = answer(slow).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")
            assert json.loads(body)["code"] == "request_timeout"
        assert time.monotonic() - started < 9
        wait_for(lambda: not server.connections)


def test_a_client_that_does_not_read_its_answer_is_cut_off(listen: Callable[..., Listening]) -> None:
    server = listen(body_timeout=0.5)
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.settimeout(1)
            for _ in range(200):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: not server.connections)


def test_an_idle_connection_is_closed(listen: Callable[..., Listening]) -> None:
    server = listen(idle_timeout=1)
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        answer(connection)
        assert 0.5 < time.monotonic() - started < 12


def test_whoever_is_refused_while_sending_gets_the_answer(listen: Callable[..., Listening]) -> None:
    server = listen(api_key=KEY, max_upload_bytes=2**20)
    for key, status in (("wrong", 401), (KEY, 413)):
        head = (
            "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"X-API-Key: {key}\r\nContent-Length: {8 * 2**20}\r\n\r\n"
        )
        with server.connect() as connection:
            connection.sendall(head.encode())
            time.sleep(0.2)
            send_all(connection, picture(1)[:1000].ljust(2**20, b"x"), 8)
            assert answer(connection).startswith(b"HTTP/1.1 %d " % status)


def test_a_refused_client_that_sends_slowly_gets_the_answer(listen: Callable[..., Listening]) -> None:
    server = listen(max_upload_bytes=2**20)
    head = (
        "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {8 * 2**20}\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.encode())
        for _ in range(7):
            time.sleep(0.5)
            connection.sendall(b"x" * 2**20)
        assert answer(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_all_of_a_body_before_it_reads_sees_that_it_is_too_large(
    listen: Callable[..., Listening],
) -> None:
    server = listen(max_upload_bytes=2**20)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/v1/images", b"x" * (40 * 2**20), headers)
        response = connection.getresponse()
        problem = json.loads(response.read())
    assert (response.status, problem["code"], problem["limit"]) == (413, "request_too_large", 2**20)
    assert problem["setting"] == "VISEM_MAX_UPLOAD_BYTES"


@pytest.mark.parametrize(
    ("trusted", "shown"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.7"), (("10.0.0.0/8",), "127.0.0.1")]
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(
    listen: Callable[..., Listening], caplog: pytest.LogCaptureFixture, trusted: tuple[str, ...], shown: str
) -> None:
    server = listen(trusted_proxies=trusted)
    with caplog.at_level("INFO"):
        assert server.get("/healthz", **{"X-Forwarded-For": "203.0.113.7"})[0] == 200
        server.close()  # it logs a request after it is answered
    [entry] = [record for record in caplog.records if record.message == "request"]
    assert entry.fields["client"] == shown  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_what_counts_as_one_client(address: str, name: str) -> None:
    assert client_name(address) == name


def test_what_a_connection_had_is_freed_without_the_garbage_collector(
    listen: Callable[..., Listening],
) -> None:
    server = listen()

    def left() -> int:
        return sum(type(one) in (Connection, RequestResponseCycle) for one in gc.get_objects())

    server.get("/healthz")
    before = left()
    gc.disable()
    try:
        for _ in range(5):
            server.get("/v1/search?q=a+dog")
            server.get("/nothing")
            with server.connect() as connection:  # says nothing
                connection.close()
            with server.connect() as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
            with server.connect() as connection:  # leaves before there is an answer
                connection.sendall(b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        wait_for(lambda: server.connections == 0)
        wait_for(lambda: left() <= before)
    finally:
        gc.enable()
