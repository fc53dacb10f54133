"""Commands as processes: killed, interrupted, side by side."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from app.cli import sessions
from index import LibraryConfig, open_library
from tests.app.cli.conftest import Run, finish, leave_some, start, write_pictures
from tests.app.helpers import picture

PICTURES = 400


def wait_for_content(library: Path, process: subprocess.Popen[str], files: int) -> None:
    """Wait until a process has stored some files, but not all of them."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, finish(process)
        if sum(1 for path in library.glob("content/*/*")) >= files:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was stored")


def count_images(library: Path) -> int:
    with open_library(LibraryConfig(library)) as opened:
        assert opened.check(deep=True) == []
        return opened.count("images")


def test_add_continues_after_kill(environment: dict[str, str], run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", PICTURES)
    process = start(environment, "add", photos)
    wait_for_content(library, process, 48)
    process.kill()
    assert finish(process).status == -signal.SIGKILL
    before = count_images(library)
    assert 0 < before < PICTURES
    document = run("add", photos, "--json").document
    assert (document["created"], document["duplicates"]) == (PICTURES - before, before)
    assert count_images(library) == PICTURES
    assert len({result["image"]["id"] for result in document["results"]}) == PICTURES


def test_ctrl_c_ends_cleanly(environment: dict[str, str], run: Run, tmp_path: Path, library: Path) -> None:
    pictures = 3 * PICTURES  # enough to be in the midst of them when the signal comes, on a fast machine too
    photos = write_pictures(tmp_path / "photos", pictures)
    process = start(environment, "add", photos, "--json")
    wait_for_content(library, process, 32)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 130
    assert "Traceback" not in outcome.stderr
    assert "repeat the command" in outcome.stderr
    document = outcome.document
    assert document["interrupted"] is True
    before = count_images(library)
    assert 0 < document["created"] <= before < pictures
    leave_some(photos, before + 20)
    assert run("add", photos, "--json").document["created"] == len(list(photos.iterdir())) - before <= 20


@pytest.mark.parametrize("command", ["add", "watch"])
def test_searches_go_before_a_command_that_adds(
    command: str, environment: dict[str, str], tmp_path: Path, library: Path
) -> None:
    process = start(environment, command, write_pictures(tmp_path / "photos", 100))
    deadline = time.monotonic() + 60
    while not (library / "catalog.sqlite").exists():  # it is at work
        assert time.monotonic() < deadline
        time.sleep(0.02)
    priority = os.getpriority(os.PRIO_PROCESS, process.pid)
    session = Path(f"/proc/{process.pid}/autogroup")
    told = session.read_text() if session.exists() else "nice 10"
    process.kill()
    finish(process)
    assert told.split()[-1] == "10"
    assert priority >= os.getpriority(os.PRIO_PROCESS, 0) + 5


def test_the_priority_of_a_session_is_restored(environment: dict[str, str], tmp_path: Path, library: Path) -> None:
    session = Path("/proc/self/autogroup")
    if not session.exists():
        pytest.skip("the system shares its cores among processes, not among sessions")
    photos = write_pictures(tmp_path / "photos", 2)
    for before in ("0", "10"):  # the second one is what a command that was killed has left
        first = f"import pathlib; pathlib.Path('/proc/self/autogroup').write_text('{before}')"
        last = "import atexit; atexit.register(lambda: print(open('/proc/self/autogroup').read()))"
        outcome = finish(start(environment, "add", photos, first=f"{first}\n{last}"))
        assert outcome.stdout.split()[-2:] == ["nice", "0"], outcome


def test_a_process_in_no_session_that_linux_counts(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its file is empty: that of what init started without a session of its own."""
    empty = tmp_path / "autogroup"
    empty.touch()
    monkeypatch.setattr(sessions, "AUTOGROUP", empty)
    outcome = run("add", write_pictures(tmp_path / "photos", 2), "--json")
    assert outcome.status == 0, outcome
    assert outcome.document["created"] == 2
    assert empty.read_bytes() == b""


def test_two_at_once(environment: dict[str, str], tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 60)
    processes = [start(environment, "add", photos, "--json") for _ in range(2)]
    outcomes = [finish(process) for process in processes]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert sum(outcome.document["created"] for outcome in outcomes) == 60
    assert count_images(library) == 60


def test_names_that_are_no_text_in_a_plain_locale(environment: dict[str, str], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(picture(1))
    for locale in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}):
        outcome = finish(start(environment | locale, "add", path, "--json"))
        assert outcome.status == 0, outcome
        assert outcome.document["results"][0]["path"].endswith("caf\\xe9.jpg")
        assert outcome.document["rejected"] == 0


class Served:
    """A service in a process of its own."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self.process = start(environment, "serve", "--port", "0", *options)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            message = json.loads(line)["message"]
            if "running on" in message:
                self.url = message.split()[3]
                return
        raise AssertionError(finish(self.process))

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as response:  # noqa: S310
            return json.loads(response.read())

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return finish(self.process).status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_a_library_that_commands_change(
    environment: dict[str, str], run: Run, tmp_path: Path, library: Path, number: signal.Signals
) -> None:
    served = Served(environment)
    try:
        photos = write_pictures(tmp_path / "photos", 3)
        added = run("add", photos, "--json").document["results"]
        answer = served.get("/v1/search?q=dog")
        assert {hit["id"] for hit in answer["hits"]} == {result["image"]["id"] for result in added}  # type: ignore[index]
        run("remove", added[0]["image"]["id"])
        assert len(served.get("/v1/search?q=dog")["hits"]) == 2  # type: ignore[index]
    finally:
        assert served.stop(number) == 0
    assert not (library / "catalog.sqlite-wal").exists(), "the library was closed"


def test_an_address_with_colons(environment: dict[str, str]) -> None:
    served = Served(environment, "--host", "::1")
    try:
        assert re.fullmatch(r"http://\[::1\]:[1-9][0-9]+", served.url)
        assert served.get("/healthz")
    finally:
        served.stop(signal.SIGTERM)


def test_an_address_that_is_taken(environment: dict[str, str], run: Run, library: Path) -> None:
    served = Served(environment)
    try:
        port = served.url.rsplit(":", 1)[1]
        outcome = run("serve", "--port", port)
        assert outcome.status == 1
        assert f"port {port}" in outcome.stderr
        assert len(outcome.stderr.splitlines()) == 1
    finally:
        served.stop(signal.SIGTERM)
