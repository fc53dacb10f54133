"""A server that speaks the protocol of S3 (moto)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACE = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run a server while the context lasts; its address."""
    log = folder / "s3.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603  # our own
        try:
            yield _address(server, log)
        finally:
            server.terminate()
            server.wait(30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        if found := _PLACE.search(log.read_text()):
            return found[1]
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"The S3 server did not start:\n{log.read_text()}")
