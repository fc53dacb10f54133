"""How many workers there are, and what each of them may take."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from app.settings import MEBIBYTE, Settings
from app.workers import limits
from app.workers.limits import default_workers, share_of
from model import threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with eight cores, 64 GiB and no GPU."""
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(limits, "_installed", lambda: 65_536 * MEBIBYTE)
    monkeypatch.setattr(limits, "may_have_gpu", lambda: False)
    return tmp_path


def _limit(root: Path, **limits: str) -> None:
    for name, text in {"proc/self/cgroup": "0::/\n", **limits}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 1), (4, 4), (8, 8)])
def test_one_for_each_core_of_four_or_more(
    cores: int, expected: int, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert default_workers("auto", machine) == expected


def test_a_cgroup_limits_cores_and_memory(machine: Path) -> None:
    _limit(machine, **{"sys/fs/cgroup/cpu.max": "500000 100000\n"})
    assert default_workers("cpu", machine) == 5
    _limit(machine, **{"sys/fs/cgroup/memory.max": f"{3 * 1024 * MEBIBYTE + 1}\n"})
    assert default_workers("cpu", machine) == 3
    _limit(machine, **{"sys/fs/cgroup/memory.max": "max\n"})
    assert default_workers("cpu", machine) == 5
    _limit(machine, **{"proc/self/cgroup": "3:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1000\n"})
    assert default_workers("cpu", machine) == 1


def test_a_machine_with_little_memory_has_few(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_installed", lambda: 2500 * MEBIBYTE)
    assert default_workers("cpu", machine) == 2


def test_threads_are_cores(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "6")
    assert default_workers("auto", machine) == 6


def test_a_gpu_is_for_one(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_workers("cuda:1", machine) == 1
    monkeypatch.setattr(limits, "may_have_gpu", lambda: True)
    there = importlib.util.find_spec("torch") is not None
    assert default_workers("auto", machine) == (1 if there else 8)
    assert default_workers("cpu", machine) == 8


def test_what_is_bounded_is_divided(machine: Path) -> None:
    share = share_of(Settings(), 4)
    assert (share.threads, share.max_searches, share.max_jobs) == (2, 16, 8)
    assert share.memory_budget == 64 * MEBIBYTE
    assert (share.max_connections, share.max_client_connections) == (250, 64)
    assert share.upload_budget == share.max_upload_bytes == 256 * MEBIBYTE
    assert share.max_image_bytes == Settings().max_image_bytes


def test_every_worker_gets_enough_to_work_and_no_more_than_the_service(machine: Path) -> None:
    share = share_of(Settings(max_searches=5, max_jobs=3, max_connections=10), 100)
    assert (share.threads, share.max_searches, share.max_jobs, share.max_connections) == (1, 5, 3, 10)
    share = share_of(Settings(), 100)
    assert (share.max_searches, share.max_jobs, share.max_connections, share.max_client_connections) == (8, 4, 64, 32)
    assert share.memory_budget // 8 >= share.max_json_bytes
    assert share.upload_budget >= share.max_upload_bytes
