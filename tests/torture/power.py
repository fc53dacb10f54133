"""Cuts the power at every write of the scenario of driver.py: `power.py SHIM FOLDER STRIDE`.

The scenario runs once, and the shim writes a journal of what it does to files. From the journal comes what a disk may
hold after a power cut at each point. POSIX promises no more than this: what was written is there once the file was
synchronised, and a name once its directory was. Whether the rest is there is open, so several states are made of each
point. Another process opens each of them, and compares it with what had been acknowledged.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.driver import fork, rehearse, scenario, verify

_HEAD = struct.Struct("=cIIqQ")


@dataclass(frozen=True)
class Entry:
    """One call that changed something, or a step that was acknowledged (`what` is A)."""

    what: str
    path: str
    other: str
    at: int
    data: bytes


@dataclass(eq=False)
class File:
    """What a file holds for certain, and what was written since."""

    data: bytes = b""
    unsynced: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Chance:
    """What becomes of changes that nobody synchronised: of names, and of what is in files."""

    names: Callable[[list[Entry]], list[Entry]]
    writes: Callable[[list[Entry]], list[Entry]]


def _all(entries: list[Entry]) -> list[Entry]:
    return entries


def _none(_: list[Entry]) -> list[Entry]:
    return []


def _half_of_the_last(entries: list[Entry]) -> list[Entry]:
    if not entries:
        return []
    last = entries[-1]
    return [*entries[:-1], Entry(last.what, last.path, last.other, last.at, last.data[: len(last.data) // 2])]


def _some(entries: list[Entry]) -> list[Entry]:
    dice = random.Random(len(entries))  # noqa: S311  # the same states each time
    return [entry for entry in entries if dice.random() < 0.5]


CHANCES = {
    "nothing else": Chance(_none, _none),
    "names": Chance(_all, _none),
    "contents": Chance(_none, _all),
    "a torn write": Chance(_all, _half_of_the_last),
    "some writes": Chance(_all, _some),
}


class Disk:
    """Names and files as a power cut leaves them: certain ones, and changes on top that may be lost."""

    def __init__(self) -> None:
        self._live: dict[str, File | None] = {}  # None is a folder
        self._durable: dict[str, File | None] = {}
        self._unsynced: list[tuple[Entry, File | None]] = []  # changes of names, with what the name stands for

    def do(self, entry: Entry) -> None:
        """Carry out an entry of the journal."""
        path = entry.path
        if entry.what in "WT":
            self._file(path).unsynced.append(entry)
        elif entry.what == "S" and self._live.get(path) is not None:
            file = self._file(path)
            file.data, file.unsynced = _written(file.data, file.unsynced), []
        elif entry.what == "S":
            self._sync_folder(path)
        elif entry.what in "CMRU":
            if entry.what == "C":
                self._live[path] = File()
            target = self._live.get(path)
            self._unsynced.append((entry, target))
            _rename(self._live, entry, target)

    def _file(self, path: str) -> File:
        file = self._live[path]
        assert file is not None
        return file

    def _sync_folder(self, folder: str) -> None:
        left = []
        for entry, target in self._unsynced:
            if os.path.dirname(entry.other or entry.path) == folder:  # noqa: PTH120
                _rename(self._durable, entry, target)
            else:
                left.append((entry, target))
        self._unsynced = left

    def state(self, chance: Chance) -> dict[str, bytes | None]:
        """What is there after the power cut: contents by path, None for a folder."""
        names = copy(self._durable)
        kept = {id(entry) for entry in chance.names([entry for entry, _ in self._unsynced])}
        for entry, target in self._unsynced:
            if id(entry) in kept:
                _rename(names, entry, target)
        return {
            path: None if file is None else _written(file.data, chance.writes(file.unsynced))
            for path, file in names.items()
        }


def _rename(names: dict[str, File | None], entry: Entry, target: File | None) -> None:
    if entry.what in "CM":
        names[entry.path] = target
    elif entry.what == "R":
        names.pop(entry.path, None)
        names[entry.other] = target
    else:
        names.pop(entry.path, None)


def _written(data: bytes, writes: list[Entry]) -> bytes:
    content = bytearray(data)
    for entry in writes:
        end = entry.at + len(entry.data)
        if entry.what == "T":
            del content[entry.at :]
        content.extend(bytes(max(0, end - len(content))))
        content[entry.at : end] = entry.data
    return bytes(content)


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of a journal, in order."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            what, first, second, at, size = _HEAD.unpack(head)
            paths = file.read(first).decode(), file.read(second).decode()
            yield Entry(what.decode(), *paths, at, file.read(size))


def lay_out(state: dict[str, bytes | None], folder: Path) -> None:
    """Write a state of the disk to a folder of its own. The shared memory of SQLite is no file that lasts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for path, data in sorted(state.items()):
        if not path.startswith(f"{folder}/") or path.endswith("-shm"):
            continue
        place = Path(path)
        if not place.parent.is_dir():
            continue  # the folder was lost, and all in it
        if data is None:
            place.mkdir(mode=0o700)
        else:
            place.write_bytes(data)


def main(shim: str, where: str, stride: str) -> None:
    recorder = ctypes.CDLL(shim)
    rehearse(Path(where) / "rehearsal")
    folder, journal = Path(where) / "library", Path(where) / "journal"
    folder.mkdir(mode=0o700)

    def run() -> None:
        with journal.open("wb") as file:
            recorder.torture_record(str(folder).encode(), file.fileno())
            scenario(folder, lambda name: recorder.torture_acknowledged(name.encode()))
        os._exit(0)  # nothing after the scenario counts

    assert fork(run) == 0
    disk = Disk()
    acknowledged: set[str] = set()
    states = findings = 0
    disk.do(Entry("M", str(folder), "", 0, b""))
    disk.do(Entry("S", str(folder.parent), "", 0, b""))
    for number, entry in enumerate(read_journal(journal)):
        if entry.what == "A":
            acknowledged.add(entry.path)
            continue
        disk.do(entry)
        if number % int(stride):
            continue
        for name, chance in CHANCES.items():
            lay_out(disk.state(chance), folder)
            states += 1
            if fork(lambda: verify(folder, acknowledged)) != 0:
                findings += 1
                sys.stdout.write(
                    f"FINDING after write {number} ({entry.what} {entry.path}), with {name}; "
                    f"acknowledged {sorted(acknowledged)}\n"
                )
    sys.stdout.write(f"{states} states, {findings} findings\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
