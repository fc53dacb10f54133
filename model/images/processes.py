"""Decoding in processes of their own, which can be stopped: a file that hangs or crashes a codec harms nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model import threads
from model.errors import ImageError
from model.images.limits import ImageLimits
from model.images.messages import read_message, write_message
from model.images.reduction import Reduction
from model.images.types import DecodedImage, PhotoFacts

MAX_SECONDS = 20.0
"""Of the processor, for one file. The largest photographs take one or two."""


class DecodersClosed(RuntimeError):  # noqa: N818  # a state
    """The processes have been stopped, and the file was not decoded."""

    code = "shutting_down"

    def __init__(self, message: str = "The service is shutting down and takes no more work.") -> None:
        super().__init__(message)


class Decoders:
    """Processes that decode, one for each thread that asks at a time; started when they are needed first.

    For any number of threads. `close` stops what is being decoded.
    """

    def __init__(self, max_seconds: float = MAX_SECONDS) -> None:
        self._max_seconds = max_seconds
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def decode(self, data: bytes, limits: ImageLimits, reduction: Reduction) -> DecodedImage:
        """As `decode_reduced`. ImageError, DecodersClosed.

        A file that takes too long is image_too_large, and one that ends its process is image_unreadable.
        """
        from PIL import Image

        if len(data) > limits.max_bytes:
            data = data[: limits.max_bytes + 1]  # refused without being sent
        answer, pixels = self._ask({"limits": asdict(limits), "reduction": asdict(reduction)}, data)
        if "code" in answer:
            raise ImageError(answer["code"], answer["message"])
        image = Image.frombytes("RGB", tuple(answer["size"]), pixels)
        return DecodedImage(
            image, answer["media_type"], answer["width"], answer["height"], PhotoFacts.from_document(answer["facts"])
        )

    def read_facts(self, data: bytes) -> PhotoFacts:
        """What a file says about its photograph, without decoding it; nothing if it is damaged. DecodersClosed."""
        try:
            answer, _ = self._ask({}, data)
        except ImageError:  # it took the process with it
            return PhotoFacts()
        return PhotoFacts.from_document(answer["facts"])

    def _ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        process = self._take()
        try:
            assert process.stdin is not None  # noqa: S101  # for the type checker: both are pipes
            assert process.stdout is not None  # noqa: S101
            threads.aside(len(data), write_message, process.stdin, {**request, "seconds": self._max_seconds}, data)
            answered = read_message(process.stdout)
        except (EOFError, OSError):
            raise self._failure(process) from None
        except BaseException:
            self._drop(process)
            raise
        self._give_back(process)
        return answered

    def close(self) -> None:
        """Stop all processes, whatever they do. Idempotent."""
        with self._lock:
            self._closed = True
            stopped = [*self._idle, *self._busy]
            self._idle.clear()
            for process in stopped:
                process.kill()
        for process in stopped:
            process.wait()
            if process not in self._busy:
                _close_pipes(process)

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise DecodersClosed
            process = self._idle.pop() if self._idle else _start()
            self._busy.add(process)
            return process

    def _give_back(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._busy.discard(process)
            if not self._closed:
                self._idle.append(process)
                return
        self._drop(process)

    def _drop(self, process: subprocess.Popen[bytes]) -> int:
        """Stop a process for good, and return its status."""
        process.kill()
        status = process.wait()
        with self._lock:
            self._busy.discard(process)
        _close_pipes(process)
        return status

    def _failure(self, process: subprocess.Popen[bytes]) -> Exception:
        """What it means that a process went away: asked to, out of time, or by a fault of a codec."""
        try:
            status = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            status = 0
        self._drop(process)
        with self._lock:
            if self._closed:
                return DecodersClosed()
        if status == -signal.SIGPROF:
            return ImageError(
                "image_too_large",
                f"Decoding the file takes more than {self._max_seconds:g} seconds of the processor. "
                "Save it anew, as JPEG or PNG, in an image editor.",
            )
        return ImageError(
            "image_unreadable", "The file is damaged in a way that its decoder cannot handle. Save it anew."
        )


def _start() -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "model.images.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C is not for it
    )


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what had not been sent yet
                pipe.close()
