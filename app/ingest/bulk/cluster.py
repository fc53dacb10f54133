"""Ray: connecting to a cluster, running workers on it with Ray Data, and the desk between them and the driver."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

# Before Ray is imported: what its C++ part has to say goes to its log files, not into a command's standard error.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that is late would start a session of its own

import ray
import ray.data
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.ingest.bulk.errors import BulkError, ImagesLostError
from app.ingest.bulk.rpc import Desk, Question
from app.ingest.bulk.worker import Worker, WorkerConfig

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_CONNECT_SECONDS = 5.0
_FRAME_HEAD, _SETTINGS = 9, 4
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
"""What a client of HTTP/2, and so of gRPC, says first (RFC 9113, 3.4). A server answers with a frame of settings."""
_BLOCKS = 1000
"""Tasks that the pieces of a window are divided into."""
_AT_ONCE = 10_000
"""Workers and threads of the driver that can talk at a time."""


class Cluster:
    """A cluster of Ray, of which this machine is a node. Close it."""

    def __init__(self, address: str, workers: int | None = None, *, on_gpu: bool = False) -> None:
        """Connect. `workers` at a time at most: as many as there are cores, or GPUs, without it. BulkError."""
        self._on_gpu = on_gpu
        check_address(address)
        _connect(address)
        self._ending = False
        resources: Any = ray.cluster_resources
        there = resources().get("GPU" if on_gpu else "CPU", 0)
        self.workers = max(1, int(there)) if workers is None else workers
        if there < 1:
            self.close()
            raise BulkError(
                "ray_away", f"The Ray cluster at {address} has no {'GPU' if on_gpu else 'core'} for workers."
            )
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Desk)
        self.desk = actor.options(num_cpus=0, max_concurrency=_AT_ONCE, scheduling_strategy=here).remote()

    def execute(self, config: WorkerConfig, numbers: Sequence[int]) -> None:
        """Have workers do the pieces of these numbers, and return when they have. BulkError."""
        size = min(self.workers, len(numbers))
        try:
            dataset = ray.data.from_items(
                [{"piece": number} for number in numbers], override_num_blocks=min(len(numbers), _BLOCKS)
            )
            done = dataset.map_batches(
                Worker,
                fn_constructor_args=(self.desk, config),
                batch_size=None,  # a block; with a number, Ray Data would put several together
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=1
                ),
                num_cpus=0 if self._on_gpu else 1,
                num_gpus=1 if self._on_gpu else 0,
            )
            for _ in done.iter_batches(batch_size=None, prefetch_batches=0):
                pass
        except RayError as error:
            raise BulkError("ray_failed", f"Ray could not do the work: {_last_line(error)}") from error

    def next_question(self) -> Question | None:
        """What a worker wants, as soon as one wants something; None when it is over."""
        try:
            asked = self.desk.next.remote()
            while not self._ending:
                ready, _ = ray.wait([asked], timeout=1.0)
                if ready:
                    question: Question = ray.get(asked)
                    return question
        except RayError:  # the desk is gone
            pass
        return None

    def answer(self, question: Question, answer: Any) -> None:
        """Answer it."""
        with contextlib.suppress(Exception):  # it is over
            self.desk.answer.remote(question.number, answer)

    def fetch(self, reference: Sequence[Any]) -> Any:
        """What a worker has put into Ray's store, by its only reference. ImagesLostError if that worker has died."""
        try:
            return ray.get(reference[0])
        except RayError as error:
            raise ImagesLostError(f"Images were lost on their way: {_last_line(error)}") from error

    def end(self) -> None:
        """Answer no more: `next_question` returns, and `execute` soon, as workers cannot go on."""
        self._ending = True
        ray.kill(self.desk)

    def close(self) -> None:
        """End the workers and leave the cluster, when no thread is in a call any more: Ray would crash."""
        ray.shutdown()


def check_address(address: str) -> tuple[str, int]:
    """Host and port of an address; BulkError invalid_request if it cannot be one of a cluster."""
    if address.startswith("ray://"):
        raise BulkError(
            "invalid_request",
            "--ray takes the address of the cluster itself, as HOST:6379. Run the command on one of its nodes.",
        )
    matched = _ADDRESS.fullmatch(address)
    if matched is None or not 0 < int(matched[2]) < 65536:
        raise BulkError("invalid_request", f"--ray takes HOST:PORT, such as HOST:6379, and not {address}.")
    return matched[1].strip("[]"), int(matched[2])


def _require_answer(address: str) -> None:
    """Refuse at once what is no Ray: Ray itself would try for minutes. BulkError."""
    try:
        with socket.create_connection(check_address(address), _CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.sendall(_HELLO)
            answer = connection.recv(_FRAME_HEAD, socket.MSG_WAITALL)
    except OSError as error:
        reason = error.strerror or "it does not answer"
        raise BulkError("ray_away", f"No Ray cluster at {address}: {reason}. Start one with `ray start`.") from error
    if len(answer) < _FRAME_HEAD or answer[3] != _SETTINGS:
        raise BulkError("ray_away", f"What answers at {address} is no Ray cluster.")


def _connect(address: str) -> None:
    _require_answer(address)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _quiet():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # nearly anything, by what is wrong
        raise BulkError("ray_away", f"The Ray cluster at {address} cannot be used: {_last_line(error)}") from error
    finally:
        for number, heard in before.items():  # Ray puts its own in their place
            signal.signal(number, heard)
    logger = logging.getLogger("ray.data")  # it has a file of its own, too
    for handler in list(logger.handlers):
        if type(handler).__name__ == "PlainRayHandler":
            logger.removeHandler(handler)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from standard error what Ray's C++ part writes while it starts, beside Python: that all is well."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _last_line(error: BaseException) -> str:
    """The last line of what Ray says, which names the cause, without the traceback that it sends along."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__
