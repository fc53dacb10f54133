"""Workers that end, and a service that ends with its workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.service import library_space
from app.workers import supervisor
from index import LibraryConfig, Space, open_library
from model.space import JointSpace
from tests.app.helpers import picture
from tests.app.workers.group import group, is_there, until

_SERVE = "from app.cli import main; main()"
_HASTY = """
from app.settings import Settings
from app.workers import supervisor

supervisor.FAILURES, supervisor.FIRST_PAUSE = 3, 0.1
supervisor.supervise(Settings(), 2, lambda host, port: None)
"""
_IMPATIENT = """
from app.settings import Settings
from app.workers import supervisor

supervisor.SILENCE = 4
supervisor.supervise(Settings(), 2, lambda host, port: None)
print("closed")
"""
_STUMBLING = """
import errno, itertools, os
from app.settings import Settings
from app.workers import supervisor

start, calls = supervisor._start, itertools.count(1)

async def stumble(*arguments):
    if next(calls) in (3, 4):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return await start(*arguments)

supervisor._start = stumble
supervisor.supervise(Settings(), 2, lambda host, port: None)
print("closed")
"""
_FAILING = """
import asyncio
from app.settings import Settings
from app.workers import supervisor

class Failing(supervisor._Supervisor):
    async def _keep(self, number):
        if number == 1:
            raise RuntimeError("a defect")
        await super()._keep(number)

supervisor._Supervisor, supervisor._GRACE = Failing, 0.1
supervisor.supervise(Settings(), 2, lambda host, port: None)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the service, where its workers share theirs."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_workers_that_are_killed_are_replaced_and_all_stop_in_order(space: JointSpace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with group(space, tmp_path, SOURCES=str(photos), SHUTDOWN_TIMEOUT="1") as running:
        workers = running.workers()
        leader = running.leader()
        [other] = [worker for worker in workers if worker.pid != leader]
        os.kill(leader, signal.SIGKILL)
        assert other.get("/healthz") == {"status": "ok"}
        (photos / "a.jpg").write_bytes(picture(1))
        until(lambda: other.get("/v1/images")["total"] == 1, running)
        running.workers(but=leader)
        assert running.leader() != leader
        assert f"Process {leader} was ended by SIGKILL. It is started again" in running.log()

        for pid in running.pids():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not is_there(other.pid), running)
        assert running.connect().pid not in (leader, other.pid)  # it waited until there was a worker again

        pids = {worker.pid for worker in running.workers()}
        worker = running.connect()
        head = "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\n"
        worker.connection.sock.sendall(f"{head}Content-Length: 1000\r\n\r\n--X".encode())  # the rest never comes
        time.sleep(0.5)  # until it has been read
        assert running.stop(signal.SIGINT) < 15
        assert worker.connection.sock.recv(100).startswith(b"HTTP/1.1 503 ")
        assert not [pid for pid in pids if is_there(pid)]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((running.address.hostname or "", running.address.port or 0), timeout=5)
    with open_library(LibraryConfig(tmp_path / "library"), library_space(space)) as library:
        assert library.check() == []


def test_it_stops_while_workers_start_and_leaves_nothing_behind(
    space: JointSpace, tmp_path: Path, temporary: Path
) -> None:
    with group(space, tmp_path) as running:
        pids = running.pids()
        assert len(list(temporary.glob("visem-*"))) == 1
        assert running.stop() < 15
    assert not [pid for pid in pids if is_there(pid)]
    assert list(temporary.glob("visem-*")) == []


def test_what_workers_share_is_in_memory_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(supervisor, "MEMORY", tmp_path)
    assert supervisor.shared_where() == str(tmp_path)
    monkeypatch.setattr(supervisor, "_MOST_SHARED", 2**60)
    assert supervisor.shared_where() is None
    monkeypatch.undo()
    monkeypatch.setattr(supervisor, "MEMORY", tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
    assert supervisor.shared_where() is None
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(supervisor, "MEMORY", tmp_path / "missing")
    assert supervisor.shared_where() is None


def test_workers_end_with_their_supervisor(space: JointSpace, tmp_path: Path, temporary: Path) -> None:
    with group(space, tmp_path) as running:
        pids = running.pids()
        running.process.kill()
        until(lambda: not [pid for pid in pids if is_there(pid)], running)
    assert list(temporary.glob("visem-*")) == []


def test_a_start_that_fails_is_said_and_tried_again(space: JointSpace, tmp_path: Path) -> None:
    with group(space, tmp_path, _STUMBLING) as running:
        killed = running.workers()[0].pid
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: running.log().count("Its start failed: [Errno 11] Resource temporarily unavailable.") == 2, running
        )
        assert len(running.workers(but=killed)) == 2
        assert running.stop() < 15


def test_a_shared_folder_that_was_removed_is_made_again(space: JointSpace, tmp_path: Path, temporary: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with group(space, tmp_path, SOURCES=str(photos)) as running:
        workers = running.workers()
        leader = running.leader()
        [other] = [worker for worker in workers if worker.pid != leader]
        [shared] = temporary.glob("visem-*")
        shutil.rmtree(shared)
        for worker in workers:
            assert len(worker.get("/v1/sources")["items"]) == 1
            status, body = worker.ask("GET", "/metrics")
            assert status == 200
            assert b"visem_http_requests_total" in body
        time.sleep(1.5)  # the thread that waits to lead looks once more
        os.kill(leader, signal.SIGKILL)
        (photos / "a.jpg").write_bytes(picture(1))
        until(lambda: other.get("/v1/images")["total"] == 1, running)
        workers = running.workers(but=leader)
        assert running.leader() == other.pid
        assert all(worker.ask("GET", "/metrics")[0] == 200 for worker in workers)
        assert shared.stat().st_mode & 0o777 == 0o700
        assert running.stop() < 15
    assert list(temporary.glob("visem-*")) == []


def test_no_worker_is_left_behind_where_the_supervisor_fails(space: JointSpace, tmp_path: Path) -> None:
    with group(space, tmp_path, _FAILING, SHUTDOWN_TIMEOUT="1") as running:
        [pid] = running.pids()
        os.kill(pid, signal.SIGSTOP)  # it does not end by itself
        running.process.terminate()
        running.process.communicate(timeout=30)
        assert running.process.returncode == 1
        assert not is_there(pid)
        assert "a defect" in running.log()


def test_what_keeps_the_first_worker_from_serving_is_said_once(space: JointSpace, tmp_path: Path) -> None:
    other = Space(id="0" * 64, name="some-other-bundle", dimension=space.dimension)
    open_library(LibraryConfig(tmp_path / "library"), other).close()
    settings = {"LIBRARY": str(tmp_path / "library"), "BUNDLE": str(space.bundle.path), "PORT": "0", "DEVICE": "cpu"}
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _SERVE, "serve", "--workers", "2"],
        env={**os.environ, **{f"VISEM_{name}": value for name, value in settings.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("visem: ")
    assert "some-other-bundle" in line


def test_workers_that_end_again_and_again_end_the_service(space: JointSpace, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(space.bundle.path, bundle)
    with group(space, tmp_path, _HASTY, BUNDLE=str(bundle)) as running:
        running.workers()
        (bundle / "bundle.json").unlink()
        for pid in running.pids():
            os.kill(pid, signal.SIGKILL)
        running.process.communicate(timeout=300)
        assert running.process.returncode == 1
    attempts = [json.loads(line)["message"] for line in running.log().splitlines() if "started again" in line]
    assert 4 <= len(attempts) <= 8
    assert "bundle.json" in running.log()


def test_a_port_that_is_taken_is_said_at_once(space: JointSpace, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _SERVE, "serve", "--workers", "2", "--port", port],
            env={**os.environ, "VISEM_LIBRARY": str(tmp_path / "library")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1, port {port}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "library").exists()


def test_a_worker_that_hangs_is_replaced(space: JointSpace, tmp_path: Path) -> None:
    with group(space, tmp_path, _IMPATIENT) as running:
        hung, other = running.workers()
        os.kill(hung.pid, signal.SIGSTOP)
        until(lambda: hung.pid not in running.pids(), running)
        assert other.get("/healthz") == {"status": "ok"}
        assert len(running.workers(but=hung.pid)) == 2
        assert f"Process {hung.pid} gave no sign of life for 4 s, and was killed. It is started again" in running.log()
        assert other.pid in running.pids()
        assert running.stop() < 15


def test_workers_that_are_busy_or_were_suspended_are_left_alone(space: JointSpace, tmp_path: Path) -> None:
    files = {f"{number}.jpg": picture(number) for number in range(8)}
    with group(space, tmp_path, _IMPATIENT) as running, ThreadPoolExecutor(12) as clients:
        before = running.pids()
        until_then = time.monotonic() + 6  # longer than a worker may be silent

        def keep_busy(number: int) -> int:
            worker, answered = running.connect(), 0
            while time.monotonic() < until_then:
                if number % 3:
                    status, _ = worker.ask("GET", f"/v1/search?q=a+dog+{number}+{answered}+%2B+cat&all=true")
                else:
                    status, _ = worker.send("/v1/embeddings", "files", files)
                answered += status in (200, 503)
            return answered

        assert all(clients.map(keep_busy, range(12)))
        assert running.pids() == before

        everybody = [running.process.pid, *before]  # as a machine that is suspended, or a container that is paused
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(5.5)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.5)  # and looks once more
        assert running.pids() == before
        assert "no sign of life" not in running.log()
        assert running.connect().get("/healthz") == {"status": "ok"}
