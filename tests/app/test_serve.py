"""A real server process: it starts, answers, stops when told to, and leaves the library in order."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from app.service import library_space
from index import (
    LibraryConfig,
    open_library,
)
from model.space import JointSpace
from tests.app.helpers import encode, form, picture
from tests.app.listening import answer, closing_all
from tests.app.serving import serving


def test_a_server_stops_gracefully(space: JointSpace, tmp_path: Path) -> None:
    with serving(space, tmp_path) as (process, address):
        with urllib.request.urlopen(f"{address}/readyz", timeout=30) as response:  # noqa: S310  # our own
            assert json.load(response) == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == "closed\n"
    assert any(entry.get("route") == "/readyz" for entry in _entries(tmp_path))
    _assert_in_order(space, tmp_path, images=0)


def test_files_of_a_client_that_left_are_not_begun(space: JointSpace, tmp_path: Path) -> None:
    files = [encode(Image.new("RGB", (3000, 3000), (number, 0, 0)), "PNG") for number in range(16)]
    body, kind = form({}, [("files", file) for file in files])
    head = f"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with serving(space, tmp_path, BATCH_SIZE="1", DECODE_THREADS="1", SHUTDOWN_TIMEOUT="60") as (process, address):
        target = urlsplit(address)
        with socket.create_connection((target.hostname or "", target.port or 0), timeout=30) as connection:
            connection.sendall(head.encode() + body)
            while not list((tmp_path / "library/content").glob("*/*")):
                time.sleep(0.02)
        process.send_signal(signal.SIGTERM)  # waits for what has been begun
        output, _ = process.communicate(timeout=90)
    assert (process.returncode, output) == (0, "closed\n")
    assert not [entry for entry in _entries(tmp_path) if entry["level"] == "error"]
    with open_library(LibraryConfig(tmp_path / "library"), library_space(space)) as library:
        assert 0 < library.count("images") < len(files)


@pytest.mark.parametrize("missing", ["half of the file", "the end", "the whole body"])
def test_an_upload_that_does_not_end_is_given_up_when_the_time_to_stop_is_over(
    space: JointSpace, tmp_path: Path, missing: str
) -> None:
    part = b'--X\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + picture(1)
    whole = part + b"\r\n--X--\r\n"
    sent = {"half of the file": part[: len(part) // 2], "the end": part, "the whole body": b""}[missing]
    head = (
        "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\n"
        f"Content-Length: {len(whole)}\r\n\r\n"
    )
    with serving(space, tmp_path, SHUTDOWN_TIMEOUT="1") as (process, address):
        target = urlsplit(address)
        with socket.create_connection((target.hostname or "", target.port or 0), timeout=30) as connection:
            connection.sendall(head.encode() + sent)
            time.sleep(0.5)  # until it has been read
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            status, _, body = answer(connection).partition(b"\r\n\r\n")
            output, _ = process.communicate(timeout=30)
        assert time.monotonic() - started < 15
    assert status.startswith(b"HTTP/1.1 503 ")
    assert b"content-type: application/problem+json" in status.lower()
    assert json.loads(body)["code"] == "shutting_down"
    assert (process.returncode, output) == (0, "closed\n")
    entries = _entries(tmp_path)
    assert not [entry for entry in entries if "exception" in entry or "Traceback" in str(entry)]
    assert [entry["status"] for entry in entries if entry.get("path") == "/v1/images"] == [503]
    _assert_in_order(space, tmp_path, images=0)


def test_slow_readers_are_cut_off_when_the_time_to_stop_is_over(space: JointSpace, tmp_path: Path) -> None:
    with serving(space, tmp_path, SHUTDOWN_TIMEOUT="1") as (process, address), closing_all() as held:
        target = urlsplit(address)
        for _ in range(2):
            reader = socket.create_connection((target.hostname or "", target.port or 0), timeout=1)
            held.append(reader)
            with contextlib.suppress(TimeoutError):  # more answers than the kernel holds for who reads none
                for _ in range(300):
                    reader.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "closed\n")
    entries = _entries(tmp_path)
    assert not [entry for entry in entries if "exception" in entry or entry["level"] == "error"]
    [warning] = [entry["message"] for entry in entries if entry["level"] == "warning"]
    assert "2 connections are cut off" in warning


def _entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def _assert_in_order(space: JointSpace, folder: Path, images: int) -> None:
    with open_library(LibraryConfig(folder / "library"), library_space(space)) as reopened:
        assert reopened.check() == []
        assert reopened.stats().images == images
