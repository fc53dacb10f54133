"""A process that decodes pictures for another one: `python -m model.images.worker`.

Requests come on standard input and answers go to standard output, each as a length, a JSON document of that length,
and the bytes that it announces. The process ends with its input, and is ended by the system when one picture takes
too much of the processor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from model import threads
from model.errors import ImageError
from model.images.facts import read_facts
from model.images.limits import ImageLimits
from model.images.messages import read_message, write_message
from model.images.reduction import Reduction, decode_reduced
from model.images.types import PhotoFacts

FACTS_SECONDS = 2.0
"""Of the processor, to read what a file says. It is a hundredth of that for the files of cameras."""

_LARGE = 8 * 1024 * 1024  # bytes of a file and its picture, from which on what they took is given back at once


class _TakesTooLong(BaseException):
    """No `Exception`, so that nothing on its way takes it for damage and goes on."""


def main() -> None:
    """Serve until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a codec prints is no answer
    threads.give_way(threads.LOWEST)  # a search goes before the photographs of a folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process, which then closes our input
    with contextlib.suppress(OSError):  # where memory runs out, it is this process that goes
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request, data = read_message(requests)
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])  # SIGPROF ends the process
            document, pixels = _answer(request, data) if "reduction" in request else ({"facts": _facts(data)}, b"")
            signal.setitimer(signal.ITIMER_PROF, 0)
            write_message(answers, document, pixels)
            size = len(data) + len(pixels)
            del data, pixels  # not while it waits for the next ones
            if size > _LARGE:
                threads.trim_heap()


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        decoded = decode_reduced(data, ImageLimits(**request["limits"]), Reduction(**request["reduction"]))
    except ImageError as error:
        return {"code": error.code, "message": str(error)}, b""
    except MemoryError:
        return {"code": "image_too_large", "message": "There is not enough memory to decode this file."}, b""
    document = {"media_type": decoded.media_type, "width": decoded.width, "height": decoded.height}
    return {**document, "size": decoded.image.size, "facts": _facts(data)}, decoded.image.tobytes()


def _facts(data: bytes) -> dict[str, Any]:
    """What a file says, as a document; nothing where that cannot be found out, or takes too long."""
    facts = PhotoFacts()
    signal.signal(signal.SIGVTALRM, _give_up)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, FACTS_SECONDS)
        facts = read_facts(data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except (Exception, _TakesTooLong):  # of hostile files alone: it is the picture that is wanted
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return facts.to_document()


def _give_up(number: int, frame: FrameType | None) -> None:
    raise _TakesTooLong


if __name__ == "__main__":
    main()
