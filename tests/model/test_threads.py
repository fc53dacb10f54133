"""How many threads compute, and who gives way."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from app.embedding.batcher import Batcher
from app.http.uploads import Upload
from model import threads
from model.captioner import Captioner
from model.images import processes
from model.images.limits import ImageLimits
from model.images.processes import Decoders
from model.images.reduction import Reduction
from model.space import JointSpace

PHOTO = Path(__file__).parents[1] / "fixtures" / "photos" / "cat.jpg"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_limits_it_is_what_the_process_may_run_on(tmp_path: Path) -> None:
    assert threads.available(tmp_path) == 8


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": "0::/docker/1\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 0\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nan 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "inf 100000\n"}, 8),
    ],
)
def test_a_cgroup_limits_it(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert threads.available(write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), (" 3", 3), ("3.0", 3), ("1000", 8), ("", 8), ("0", 8), ("many", 8)]
)
def test_the_environment_comes_first(
    value: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(threads.VARIABLE, value)
    assert threads.available(tmp_path) == expected


def test_libraries_are_told_before_they_are_loaded() -> None:
    code = (
        "import app.service, faiss, os\nprint(faiss.omp_get_max_threads(), os.environ['OPENBLAS_NUM_THREADS'],"
        " len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    output = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, threads.VARIABLE: "1"},
    ).stdout
    assert output.split()[:2] == ["1", "1"]
    if sys.platform == "linux":
        assert output.split()[2] == "1", "neither library has made threads that wait"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_what_bulk_work_computes_and_decoders_give_way_to_searches_but_no_thread_of_the_interpreter() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def of_caller_and_computing(items: list[int]) -> list[tuple[int, int]]:
        return [(priority(), threads.compute(priority)) for _ in items]

    own = priority()
    with Batcher({"any": of_caller_and_computing}, places={"search": 1, "bulk": 1}) as batcher:
        (search,) = batcher.submit("search", "any", [1])
        (bulk,) = batcher.submit("bulk", "any", [1])
        assert search.result() == (own, own)
        assert bulk.result() == (own, min(19, own + threads.BACKGROUND))
    decoders = Decoders()
    decoders.decode(PHOTO.read_bytes(), ImageLimits(), Reduction(shorter=64))
    (process,) = decoders._idle
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    decoders.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_large_files_are_read_and_sent_to_decoders_with_a_lower_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def note(size: int) -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    class Spooled(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            note(0)
            return super().read(size)

    send = processes.write_message

    def sent(file: IO[bytes], document: dict[str, Any], data: bytes) -> None:
        note(len(data))
        send(file, document, data)

    monkeypatch.setattr(processes, "write_message", sent)
    decoders = Decoders()
    for data in (PHOTO.read_bytes(), PHOTO.read_bytes() + bytes(threads.LARGE)):
        read = Upload("a.jpg", len(data), Spooled(data)).read(ImageLimits())
        decoders.decode(read, ImageLimits(), Reduction(shorter=64))
    decoders.close()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    lower = min(19, own + threads.BACKGROUND)
    assert seen == [own, own, lower, lower]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_networks_of_bulk_work_run_with_a_lower_priority_unless_they_are_asked_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    class Session:
        def __init__(self, session: onnxruntime.InferenceSession) -> None:
            self._session = session

        def run(self, *arguments: Any) -> Any:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return self._session.run(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **known: Session(real(*args, **known)))
    space, captioner = JointSpace.load(device="cpu"), Captioner.load(device="cpu")
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with threads.in_background():
        space.embed_images([Image.open(PHOTO)])
        assert set(seen) == {min(19, own + threads.BACKGROUND)}
        seen.clear()
        captioner.caption(np.eye(1, space.dimension, dtype=np.float32), n=1)
        assert seen.count(own) > len(seen) / 2  # the others compare whole captions with the image


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no such heaps")
def test_what_is_large_is_given_back_though_something_small_came_after_it() -> None:
    code = (
        "import re, sys; from pathlib import Path; from model import threads\n"
        "def resident(): return int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "if sys.argv[1] == 'shared': threads.share_heaps(2)\n"
        "bytes(8 << 20)\n"  # by which glibc learns to keep what is large
        "before = resident()\n"
        "large, small = zip(*[(b'x' * (2 << 20), b'y' * 10_000) for _ in range(40)])\n"
        "del large\n"
        "print((resident() - before) // 1024)\n"
    )

    def kept(how: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", code, how], text=True))  # noqa: S603

    assert kept("shared") < 10
    assert kept("alone") > 60, "or it need not be set"


def test_what_comes_next_is_computed_meanwhile() -> None:
    begun = [threading.Event() for _ in range(4)]

    def double(number: int) -> int:
        begun[number].set()
        return 2 * number

    for number, doubled in enumerate(threads.ahead(double, range(4))):
        assert doubled == 2 * number
        assert number == 3 or begun[number + 1].wait(10)
    assert list(threads.ahead(double, [])) == []
    (who,) = threads.ahead(lambda _: threading.current_thread(), [1])
    assert who is threading.current_thread()  # one alone is not handed to another thread


def test_an_error_of_what_comes_next_belongs_to_it() -> None:
    results = threads.ahead(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
