"""One of several workers: `python -m app.workers.worker`, started by `app.workers.supervisor`.

Its standard input is a socket to the process that started it. From there comes a line of JSON: what to do. Back goes a
line of JSON when it serves, or could not begin, and then one every second as a sign of life. When the other side is
gone it stops as if it had been told to.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from app import logs
from app.settings import Settings
from model import threads

logger = logging.getLogger(__name__)

_CHANNEL = 0  # standard input
_SIGN_OF_LIFE = b"{}\n"
_told_to_end = threading.Event()


@dataclass(frozen=True)
class WorkerRequest:
    """What a worker is to do: with which settings, on which bound sockets, and where it meets the others."""

    settings: Settings
    sockets: tuple[int, ...]
    folder: Path
    leader: int | None = None
    """A descriptor of the file that the leader locks: it is the same although the folder may be made again."""

    def encode(self) -> bytes:
        """The request as a line. There may be a key in it: it is for nobody but the worker."""
        settings = self.settings.model_dump(mode="json")
        if self.settings.api_key is not None:
            settings["api_key"] = self.settings.api_key.get_secret_value()
        fields = {**vars(self), "settings": settings, "folder": str(self.folder)}
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> WorkerRequest:
        """Read what `encode` wrote."""
        fields = json.loads(line)
        return cls(Settings(**fields["settings"]), tuple(fields["sockets"]), Path(fields["folder"]), fields["leader"])


def serve_as_worker(request: WorkerRequest) -> None:
    """Serve until a signal comes; tell when it begins. Errors as those of `Service.open`."""
    from app.main import serve
    from app.service import Service
    from app.shared.group import WorkerGroup

    sockets = [socket.socket(fileno=number) for number in request.sockets]
    threads.answer_soon()
    with Service.open(request.settings, group=WorkerGroup(request.folder, _beat, request.leader)) as service:
        with contextlib.suppress(Exception):  # what is wrong is for /readyz to say
            service.check_ready()  # before it takes connections: nobody is to wait for its networks and its index
        if _told_to_end.is_set():  # where an exception was only noted, such as in the garbage collector
            return
        serve(service, lambda host, port: _tell(serving=True), sockets)


def main() -> None:
    """Do what standard input asks for."""
    for number in (signal.SIGINT, signal.SIGTERM):  # while the model loads, too: what has been opened is to be closed
        signal.signal(number, _end)
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(_CHANNEL, 65536)
        if not part:
            return
        line += part
    request, alone = WorkerRequest.decode(line), threading.Event()
    logs.configure(request.settings.log_level)
    threading.Thread(target=_end_with_supervisor, args=(alone,), daemon=True).start()
    try:
        serve_as_worker(request)
    except Exception as error:
        from app.problems import describe

        code, message = describe(error)
        if code == "internal_error":
            logger.exception("the worker cannot serve")
        _tell(code=code, message=message)
        raise SystemExit(1) from None
    finally:
        if alone.is_set():  # nobody else does it
            shutil.rmtree(request.folder, ignore_errors=True)
    logging.shutdown()
    os._exit(0)  # all is closed: taking the interpreter apart takes longer than that, and the supervisor waits


def _tell(**what: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(_CHANNEL, json.dumps(what).encode() + b"\n")


def _beat() -> None:
    """Give a sign of life, unless there is no room for it: a supervisor that is stopped holds nobody up."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(_CHANNEL)) as channel:
        channel.send(_SIGN_OF_LIFE, socket.MSG_DONTWAIT)


def _end_with_supervisor(alone: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(_CHANNEL, 1):
            pass
    alone.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, frame: FrameType | None) -> None:
    _told_to_end.set()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
