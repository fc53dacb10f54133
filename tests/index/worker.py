"""Another process at work: `worker.py ROOT COMMAND ARGUMENTS`. It prints what was acknowledged."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from index import (
    LibraryConfig,
    NewImage,
    Space,
    open_library,
)

DIMENSION = 32


def image(number: int) -> NewImage:
    content = f"content {number}".encode()
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, format="JPEG", comment=content)
    return NewImage(
        content=content,
        vector=np.random.default_rng(number).normal(size=DIMENSION),
        thumbnail=buffer.getvalue(),
        media_type="image/png",
        width=640,
        height=480,
        metadata={"number": number},
    )


def move(root: str, command: str, file: str, killed_at: str) -> None:
    """Export or import a library in small parts; at a number of records, end as by `kill -9`."""
    from index.catalog import export_rows
    from index.moving import files

    def progress(done: int, total: int) -> None:
        if done >= int(killed_at):
            os.kill(os.getpid(), signal.SIGKILL)

    export_rows._BATCH = 12
    config = LibraryConfig(Path(root))
    if command == "export":
        files.export_library(config, Path(file), progress=progress)
    else:
        files.import_library(config, Path(file), render=lambda content: b"", progress=progress)


def main(root: str, command: str, *arguments: str) -> None:
    if command in ("export", "import"):
        move(root, command, *arguments)
        return
    with open_library(LibraryConfig(Path(root)), Space("a" * 64, "first-bundle", DIMENSION)) as library:
        if command == "add":
            first, last, batch = map(int, arguments)
            for start in range(first, last, batch):
                added = library.add_images([image(n) for n in range(start, min(start + batch, last))])
                sys.stdout.write(" ".join(one.record.id for one in added) + "\n")
                sys.stdout.flush()
        elif command == "delete":
            library.delete_images(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
