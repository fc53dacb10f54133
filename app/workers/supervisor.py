"""Several workers on one address: the process that starts them, replaces those that end or hang, and passes signals on.

It binds the address, so that no worker's end loses a connection that waits, and does nothing else with the library or
the model. The first worker starts alone: it creates the library, or says why that cannot be. The others follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import logs
from app.settings import MEBIBYTE, Settings
from app.shared.group import HEARTBEAT, metrics_folder
from app.workers.limits import share_of
from app.workers.worker import WorkerRequest
from model import threads

logger = logging.getLogger(__name__)
_announced = logging.getLogger("uvicorn.error")  # the line is that of a single process: programs wait for it

SOON = 10.0
"""Seconds of serving within which the end of a worker counts as a failed start."""
FAILURES = 5
"""Failed starts in a row of every worker after which the service gives up."""
FIRST_PAUSE = 1.0
"""Seconds to wait after the second failure in a row, and twice as long after each further one."""

SILENCE = 30
"""Heartbeats that a worker may miss before it counts as hung and is killed."""

MEMORY = Path("/dev/shm")  # noqa: S108  # for a folder that nobody else may enter
"""Where Linux keeps files in memory."""

_MOST_SHARED = 256 * MEBIBYTE  # more than workers ever share: images and vectors of searches, figures
_LONGEST_PAUSE = 30.0
_GRACE = 1.5  # seconds after the time to shut down in which a worker may end by itself


class WorkerError(Exception):
    """No worker can serve; `code` and message are those of what kept it from that."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def supervise(settings: Settings, workers: int, announce: Callable[[str, int], None]) -> None:
    """Serve with so many workers until SIGINT or SIGTERM; running requests are finished.

    `announce` is called once with host and port, as soon as one of them serves. For the main thread of a program.
    OSError if the address cannot be had; WorkerError.
    """
    logs.configure(settings.log_level)
    with tempfile.TemporaryDirectory(prefix="visem-", dir=shared_where(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # what tidies /tmp up leaves a locked folder alone
            with (folder / "leader").open("wb") as leader:
                asyncio.run(_Supervisor(settings, workers, folder, leader.fileno(), announce).run())
        finally:
            os.close(descriptor)


def shared_where() -> str | None:
    """Where the folder that workers share belongs; None: among the temporary files, as TMPDIR says.

    In memory, if there is room: workers write there for each search, and on a disk that is busy they would wait longer
    than the search takes.
    """
    with contextlib.suppress(OSError):
        roomy = shutil.disk_usage(MEMORY).free >= _MOST_SHARED and os.access(MEMORY, os.W_OK | os.X_OK)
        if roomy and "TMPDIR" not in os.environ:
            return str(MEMORY)
    return None


@dataclass
class _Told:
    """What a worker has told: since when it serves, or why it cannot; and how many heartbeats it has missed since."""

    served_at: float | None = None
    failure: WorkerError | None = None
    missed: int = 0


class _Supervisor:
    def __init__(
        self, settings: Settings, workers: int, folder: Path, leader: int, announce: Callable[[str, int], None]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._leader = leader
        self._announce = announce
        self._share = share_of(settings, workers)
        self._failures = [0] * workers
        self._processes: set[Process] = set()
        self._sockets: tuple[int, ...] = ()
        self._serves = asyncio.Event()  # one of them, at least, has begun
        self._stopping = asyncio.Event()
        self._interrupted = False
        self._failure: WorkerError | None = None

    async def run(self) -> None:
        """Serve; as `supervise`."""
        loop = asyncio.get_running_loop()
        # Bound as a single process does it. Only workers listen.
        server = await loop.create_server(
            asyncio.Protocol, self._settings.host, self._settings.port, start_serving=False
        )
        self._sockets = tuple(bound.fileno() for bound in server.sockets)
        address = server.sockets[0].getsockname()[:2]
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        workers = [asyncio.create_task(self._keep(number)) for number in range(len(self._failures))]
        if await self._unless_stopping(self._serves.wait()):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            _announced.info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", host, address[1])
            self._announce(*address)
            await self._stopping.wait()
        server.close()  # or who connects would wait for a worker that does not come
        killing = loop.call_later(self._settings.shutdown_timeout + _GRACE, self._kill)
        ended = await asyncio.gather(*workers, return_exceptions=True)  # one that failed leaves no other one behind
        killing.cancel()
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        if self._failure is not None:
            raise self._failure
        if self._interrupted and not self._serves.is_set():
            raise KeyboardInterrupt  # as a single process that has not begun

    def _stop(self, number: signal.Signals) -> None:
        """Have all workers stop. Only what comes after that is passed on as it is: a second SIGINT hurries them."""
        again = self._stopping.is_set()
        self._interrupted = self._interrupted or number == signal.SIGINT
        self._stopping.set()
        for process in self._processes:
            process.send_signal(number if again else signal.SIGTERM)

    def _kill(self) -> None:
        for process in self._processes:
            logger.warning("process %d does not end in time, and is killed", process.pid)
            process.kill()

    async def _keep(self, number: int) -> None:
        """Have a worker run until the service stops. All but the first one wait until one serves."""
        if number > 0:
            await self._unless_stopping(self._serves.wait())
        while not self._stopping.is_set():
            least = 0.0
            try:
                seconds, failure = await self._run(number)
            except Exception as error:  # such as no descriptors or no processes for a moment
                seconds, failure = 0.0, WorkerError("worker_not_started", f"Its start failed: {error}.")
                least = FIRST_PAUSE
            if self._stopping.is_set():
                return
            failures = self._failures[number] = self._failures[number] + 1 if seconds < SOON else 0
            if not self._serves.is_set() or min(self._failures) >= FAILURES:
                self._failure = failure
                self._stop(signal.SIGTERM)
                return
            pause = least if failures < 2 else min(FIRST_PAUSE * 2.0 ** (failures - 2), _LONGEST_PAUSE)
            logger.error("worker %d ended: %s It is started again in %g s.", number + 1, failure, pause)
            await self._unless_stopping(asyncio.sleep(pause))

    async def _run(self, number: int) -> tuple[float, WorkerError]:
        """Run a worker to its end; return for how many seconds it served, and why it ended."""
        mine, others = socket.socketpair()
        try:
            with others:
                process = await _start(others, (*self._sockets, self._leader), self._share, self._folder)
            reader, writer = await asyncio.open_unix_connection(sock=mine)
        except BaseException:
            mine.close()  # a worker that has begun ends with that
            raise
        self._processes.add(process)
        if self._stopping.is_set():  # while it was started
            process.terminate()
        writer.write(WorkerRequest(self._share, self._sockets, self._folder, self._leader).encode())
        told = _Told()
        listening = asyncio.create_task(self._listen(reader, told))
        watching = asyncio.create_task(self._watch(process, told))
        await process.wait()
        self._processes.discard(process)
        watching.cancel()
        await asyncio.wait([listening], timeout=1.0)
        listening.cancel()
        writer.close()
        self._forget(process.pid)
        seconds = 0.0 if told.served_at is None else time.monotonic() - told.served_at
        ended = WorkerError("worker_ended", f"Process {process.pid} {_how(process.returncode)}.")
        return seconds, told.failure or ended

    async def _listen(self, reader: asyncio.StreamReader, told: _Told) -> None:
        """Hear what a worker tells, until it ends."""
        with contextlib.suppress(ConnectionError):  # it ended before it read what it is to do
            while line := await reader.readline():
                told.missed = 0
                said = json.loads(line)
                if "serving" in said:
                    told.served_at = time.monotonic()
                    self._serves.set()
                elif "code" in said:
                    told.failure = WorkerError(said["code"], said["message"])

    async def _watch(self, process: Process, told: _Told) -> None:
        """Kill a worker that serves, and gives no sign of life any more: its event loop is stuck, or it is stopped.

        What counts is heartbeats, not a time: while this process or the whole machine is stopped, none are missed. A
        worker that starts may take as long as it likes, and one that is told to stop has its time for that.
        """
        while not self._stopping.is_set():
            await asyncio.sleep(HEARTBEAT)
            if told.served_at is not None:
                told.missed += 1
            if told.missed > SILENCE and not self._stopping.is_set():
                reason = f"Process {process.pid} gave no sign of life for {SILENCE * HEARTBEAT:g} s, and was killed."
                told.failure = WorkerError("worker_hung", reason)
                process.kill()
                return

    async def _unless_stopping(self, wanted: Coroutine[Any, Any, Any]) -> bool:
        """Wait for something, but not once the service stops; return whether it came."""
        tasks = [asyncio.create_task(wanted), asyncio.create_task(self._stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        return tasks[0].done() and not self._stopping.is_set()

    def _forget(self, pid: int) -> None:
        """Let the figures of a moment not outlive their worker; what it counted stays."""
        try:
            for file in metrics_folder(self._folder).glob(f"gauge_live*_{pid}.db"):  # the names are prometheus_client's
                file.unlink(missing_ok=True)
        except OSError as error:
            logger.error("figures of process %d could not be removed: %s", pid, error)


async def _start(channel: socket.socket, passed: Sequence[int], share: Settings, folder: Path) -> Process:
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    threads_each = str(share.threads)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.workers.worker",
        stdin=channel.fileno(),
        pass_fds=passed,
        env={
            **os.environ,
            "PYTHONPATH": path,
            threads.VARIABLE: threads_each,
            "OMP_NUM_THREADS": threads_each,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(folder)),
        },
        process_group=0,  # Ctrl-C is for the supervisor, which passes it on
    )


def _how(status: int | None) -> str:
    """How a process ended."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"
