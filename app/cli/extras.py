"""What a command says where the packages that it needs are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from app.cli.failures import CommandError

_WORK = {"train": ("Training", "training_unavailable"), "clip": ("Importing", "import_unavailable")}


@contextmanager
def needs_extra(extra: Literal["train", "clip"]) -> Iterator[None]:
    """Say which extra is missing where an import fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        work, code = _WORK[extra]
        raise CommandError(
            code, f"{work} needs the package {error.name}. Install Visem with the extra `{extra}`: visem[{extra}]."
        ) from error
