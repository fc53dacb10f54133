"""What workers share in files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.shared.files import SharedFiles


def test_the_first_value_of_a_key_stays(tmp_path: Path) -> None:
    one, other = (SharedFiles(tmp_path / "shared", 10_000) for _ in range(2))
    assert other.get("a") is None
    assert one.keep("a", b"first") == b"first"
    assert other.keep("a", b"second") == b"first"
    assert other.get("a") == b"first"
    assert [path.name for path in (tmp_path / "shared").glob(".*")] == []


def test_many_who_keep_the_same_key_at_once_agree(tmp_path: Path) -> None:
    files = [SharedFiles(tmp_path, 10_000) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda n: files[n].keep("key", bytes([n]) * 1000), range(8)))
    assert set(kept) == {files[0].get("key")}


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    files = SharedFiles(tmp_path, 40_000)
    for n in range(20):
        files.keep(str(n), bytes(1000))
        os.utime(tmp_path / hashlib.sha256(str(n).encode()).hexdigest(), (n, n))
    assert files.get("0") == bytes(1000)  # used now
    for n in range(20, 40):
        files.keep(str(n), bytes(1000))
    assert files.get("0") == bytes(1000)
    assert files.get("1") is None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000


def test_appended_bytes_stay_bounded(tmp_path: Path) -> None:
    one, other = (SharedFiles(tmp_path, 10_000) for _ in range(2))
    for n in range(100):
        (one, other)[n % 2].append("client", bytes([n]), most=10)
    value = one.get("client") or b""
    assert value.endswith(bytes(range(90, 100)))
    assert len(value) <= 41


def test_a_folder_that_is_gone_costs_what_was_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    files = SharedFiles(folder, 10_000)
    folder.rmdir()
    assert files.keep("a", b"value") == b"value"
    files.append("b", b"value", most=10)
    assert files.get("a") is None
    assert files.get("b") == b"value"  # it was made again


def test_room_is_looked_for_although_the_folder_is_gone(tmp_path: Path) -> None:
    files = SharedFiles(tmp_path / "other" / "shared", 1000)
    shutil.rmtree(tmp_path / "other")
    assert files.keep("a", bytes(1000)) == bytes(1000)


def test_a_full_disk_is_left_without_what_could_not_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, value: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = SharedFiles(tmp_path, 1000)
    monkeypatch.setattr(Path, "write_bytes", write)
    assert files.keep("a", b"value") == b"value"
    assert list(tmp_path.iterdir()) == []
