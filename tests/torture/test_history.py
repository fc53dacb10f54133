"""Histories of clients that use one library at the same time, and the checker that reads them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.service import library_space
from index import LibraryConfig, open_library
from model.space import JointSpace
from tests.app.helpers import picture
from tests.app.serving import serving
from tests.torture.history.caller import Caller
from tests.torture.history.checks import check, overdue, recoveries
from tests.torture.history.clients import Client, Shared, last_look
from tests.torture.history.command_line import CommandLine
from tests.torture.history.operations import Fault, History, Kind, Operation

SECONDS = 120 if os.environ.get("TORTURE") else 4
CLIENTS = 6
UNDO = 1
EXPECTED = {"add", "get", "content", "find", "patch", "delete", "schedule", "restore", "set captions", "say"}


def done(history: History) -> set[str]:
    """The kinds of operations that were done."""
    return {one.kind for one in list(history.operations) if one.done}


def by_command_line(history: History) -> bool:
    """Whether the command line has searched."""
    return any(one.done and one.kind == "find" and one.client == "command line" for one in list(history.operations))


def test_two_services_and_the_command_line_on_one_library(
    space: JointSpace, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One of the services is killed at once, and started again."""
    history = History(tmp_path / "history.jsonl")
    settings = {"LIBRARY": str(tmp_path / "library"), "UNDO_SECONDS": str(UNDO)}
    folders = [tmp_path / name for name in ("first", "second", "files")]
    for folder in folders:
        folder.mkdir()
    first, second, files = folders
    broken: list[tuple[float, float]] = []
    with ExitStack() as running:
        _, kept = running.enter_context(serving(space, first, **settings))
        to_kill, killed = running.enter_context(serving(space, second, **settings))
        addresses = [urlsplit(address).netloc for address in (kept, killed)]
        shared = Shared(
            [Caller("main", addresses, history).add(picture(seed)).value for seed in range(101, 105 + SECONDS)]
        )
        callers = [Caller(f"client {number}", addresses, history) for number in range(CLIENTS)]
        clients: list[Client | CommandLine] = [
            Client(caller, number, shared, known={}, captions=False) for number, caller in enumerate(callers)
        ]
        environment = {"LIBRARY": settings["LIBRARY"], "BUNDLE": str(space.bundle.path), "DEVICE": "cpu"}
        named = {f"VISEM_{name}": value for name, value in environment.items()}
        clients.append(CommandLine(files, named, history))
        for client in clients:
            client.start()
        time.sleep(SECONDS / 3)
        start = time.monotonic()
        to_kill.kill()
        to_kill.wait()
        port = addresses[1].rpartition(":")[2]
        again, _ = running.enter_context(serving(space, second, **{**settings, "PORT": port}))
        broken.append((start, time.monotonic()))
        time.sleep(2 * SECONDS / 3)
        deadline = time.monotonic() + 120  # a busy machine does less in the same time
        while not (done(history) >= EXPECTED and by_command_line(history)) and time.monotonic() < deadline:
            time.sleep(0.2)
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(120)
            assert not client.is_alive()
            assert client.failure is None, repr(client.failure)
        time.sleep(2 * UNDO + 1)
        operations = list(history.operations)
        looks = [one for address in addresses for one in last_look(Caller(address, [address], history), operations)]
        assert [one for one in looks if not (one.done or one.absent)] == []
        again.send_signal(signal.SIGTERM)
        again.wait(60)
    history.close()
    record_property("operations", len(history.operations))
    assert check(history.operations, broken=broken) == []
    assert overdue(operations, looks) == []
    assert done(history) >= EXPECTED
    assert by_command_line(history)
    with open_library(LibraryConfig(tmp_path / "library"), library_space(space)) as library:
        assert library.check(deep=True) == []


# The checker: each of these is something that no correct service answers.


def _operation(
    kind: Kind,
    subject: str,
    at: float,
    status: int = 200,
    value: object = None,
    until: float | None = None,
    **more: str,
) -> Operation:
    code = "record_not_found" if status == 404 else "engine_away" if status == 503 else ""
    return Operation("c", kind, subject, at, until or at + 0.5, status, **{"code": code, "value": value, **more})


ADDED = _operation("add", "sha", 0, value="x")
PATCHED = _operation("patch", "x", 1, value=["k", 1, {"k": 1}])

WRONG = {
    "lost": [ADDED, _operation("get", "x", 1, 404)],
    "lost: x": [ADDED, _operation("find", "x", 1, value=["y"])],
    "came back": [ADDED, _operation("delete", "x", 1, 204), _operation("get", "x", 2, value={})],
    "came back: x": [ADDED, _operation("delete", "x", 1, 204), _operation("find", "z", 2, value=["x", "z"])],
    "patch lost": [ADDED, PATCHED, _operation("get", "x", 2, value={"other": 1})],
    "patch came back": [
        ADDED,
        PATCHED,
        _operation("patch", "x", 2, value=["k", None, {}]),
        _operation("get", "x", 3, value={"k": 1}),
    ],
    "captions lost": [
        ADDED,
        _operation("set captions", "x", 1, value=["a"]),
        _operation("set captions", "x", 2, value=["b"]),
        _operation("captions", "x", 3, value=["a"]),
    ],
    "another file": [ADDED, _operation("content", "x", 1, value="other")],
    "unknown code": [_operation("get", "x", 1, 503, code="nonsense")],
    "improper answer": [_operation("get", "x", 1, 502, wrong="text/html")],
    "unexpected answer": [_operation("get", "x", 1, 500, code="internal_error")],
    "no answer": [_operation("get", "x", 1, 0)],
}


@pytest.mark.parametrize("what", WRONG)
def test_the_checker_finds_what_is_wrong(what: str) -> None:
    [finding] = check(WRONG[what])
    assert finding.startswith(what)


RIGHT = {
    "a read while it is deleted": [ADDED, _operation("delete", "x", 1, 204), _operation("get", "x", 1.2, 404)],
    "a read before it was acknowledged": [_operation("get", "x", 0.2, 404), _operation("add", "s", 0, value="y")],
    "a write without an answer is done later": [
        ADDED,
        _operation("delete", "x", 1, 503),
        _operation("get", "x", 2, value={}),
        _operation("get", "x", 3, 404),
    ],
    "undone": [
        ADDED,
        _operation("schedule", "x", 1, 303),
        _operation("restore", "x", 2, 303),
        _operation("get", "x", 9, value={}),
    ],
    "captions without an answer": [
        ADDED,
        _operation("set captions", "x", 1, value=["a"]),
        _operation("set captions", "x", 2, 503, value=["b"]),
        _operation("captions", "x", 3, value=["a"]),
        _operation("captions", "x", 4, value=["b"]),
    ],
    "a patch without an answer": [ADDED, _operation("patch", "x", 1, 503, value=["k", 1, None])],
}


@pytest.mark.parametrize("what", RIGHT)
def test_the_checker_finds_nothing_where_all_is_right(what: str) -> None:
    assert check(RIGHT[what]) == []


def test_a_deletion_that_nobody_carries_out_is_found() -> None:
    scheduled = _operation("schedule", "x", 1, 303)
    there = _operation("get", "x", 9, value={})
    assert len(overdue([ADDED, scheduled], [there])) == 1
    assert overdue([ADDED, scheduled, _operation("restore", "x", 2, 303)], [there]) == []
    assert overdue([ADDED, scheduled], [_operation("get", "x", 9, 404)]) == []


def test_recovery_is_the_time_until_reads_work() -> None:
    faults = [Fault("first", 10, 20, reads_from=20), Fault("second", 100, 110, reads_from=100)]
    reads = [_operation("get", "x", at, 503) for at in (12, 23, 101)]
    slow = _operation("get", "x", 104, until=120)
    first, second = recoveries([*reads, slow, _operation("delete", "x", 21, 503)], faults)
    assert (first.failed_reads, first.failed_writes, first.seconds) == (2, 1, 3)
    assert (second.failed_reads, second.seconds) == (2, 4)
