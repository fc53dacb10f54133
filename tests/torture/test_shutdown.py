"""A service that is told to stop while it has much to do: it ends in time, and what it acknowledged is there."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from app.service import library_space
from index import LibraryConfig, open_library
from model.space import JointSpace
from tests.app.helpers import form, picture
from tests.app.serving import PROGRAM, TWO_WORKERS, serving

SHUTDOWN_TIMEOUT = 2
CLIENTS = 4 if os.environ.get("TORTURE") else 2
HALF_SENT = 8
STORED = 16 if os.environ.get("TORTURE") else 8
"""How many images are acknowledged before it is told to stop."""
LATE = 2 if os.environ.get("TORTURE") else 8
"""Seconds after the time to shut down: as promised, and more where other tests take the processors."""
TIMES = 5 if os.environ.get("TORTURE") else 1
PROGRAMS = {"one process": PROGRAM, "two workers": TWO_WORKERS} if os.environ.get("TORTURE") else {"one": PROGRAM}


class Clients:
    """Clients in threads, each of which asks again and again until the service is gone."""

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        self._threads: list[threading.Thread] = []
        self.acknowledged: list[str] = []
        self.statuses: list[int] = []

    def start(self, ask: Callable[[int], tuple[str, str, bytes, str]], first: int) -> None:
        thread = threading.Thread(target=self._work, args=(ask, first), daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client was left hanging"

    def half_sent(self) -> socket.socket:
        """The beginning of an upload whose end never comes."""
        connection = socket.create_connection((self._address.hostname or "", self._address.port or 0), timeout=30)
        body, kind = form({}, [("files", picture(0))])
        head = f"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body[: len(body) // 2])
        return connection

    def _work(self, ask: Callable[[int], tuple[str, str, bytes, str]], number: int) -> None:
        while True:
            method, path, body, kind = ask(number)
            number += 1
            connection = http.client.HTTPConnection(self._address.netloc, timeout=30)
            try:
                connection.request(method, path, body or None, {"Content-Type": kind} if kind else {})
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                if self._is_gone():
                    return
                continue
            finally:
                connection.close()
            self.statuses.append(response.status)
            if path == "/v1/images" and response.status == 200:
                self.acknowledged += [one["image"]["id"] for one in json.loads(answer)["results"]]

    def _is_gone(self) -> bool:
        try:
            socket.create_connection((self._address.hostname or "", self._address.port or 0), timeout=5).close()
        except OSError:
            return True
        return False


def _upload(number: int) -> tuple[str, str, bytes, str]:
    return "POST", "/v1/images", *form({}, [("files", picture(4 * number + n, 320, 240)) for n in range(4)])


def _caption(number: int) -> tuple[str, str, bytes, str]:
    return "POST", "/v1/captions", *form({}, [("image", picture(number, 320, 240))])


def _search(number: int) -> tuple[str, str, bytes, str]:
    return "GET", "/v1/search?q=" + quote(f"a dog and {number} cats"), b"", ""


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("time_over", range(TIMES))
def test_it_ends_in_time_under_load(
    shipped_space: JointSpace,
    tmp_path: Path,
    time_over: int,
    program: str,
    record_property: Callable[[str, object], None],
) -> None:
    settings = {"SHUTDOWN_TIMEOUT": str(SHUTDOWN_TIMEOUT), "CAPTION_IMAGES": "2"}
    with serving(shipped_space, tmp_path, program, **settings) as (process, address), ExitStack() as opened:
        clients = Clients(address)
        for number in range(CLIENTS):
            for ask in (_upload, _caption, _search):
                clients.start(ask, 1_000_000 * number)
        for _ in range(HALF_SENT):
            opened.enter_context(clients.half_sent())
        deadline = time.monotonic() + 300
        while len(clients.acknowledged) < STORED:
            assert time.monotonic() < deadline, "the service stores nothing"
            time.sleep(0.05)
        time.sleep(0.1 * time_over)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        seconds = time.monotonic() - started
        clients.join()
    record_property("seconds", seconds)
    log = (tmp_path / "log").read_text()
    assert (process.returncode, output) == (0, "closed\n"), log[-4000:]
    assert seconds < SHUTDOWN_TIMEOUT + LATE, f"{seconds:.2f} s\n{log[-4000:]}"
    assert not [status for status in clients.statuses if status >= 500 and status != 503], log[-4000:]
    with open_library(LibraryConfig(tmp_path / "library"), library_space(shipped_space)) as library:
        assert library.check(deep=True) == []
        for image_id in clients.acknowledged:
            with library.open_file(image_id, "content") as file:
                assert file.content.size > 0
