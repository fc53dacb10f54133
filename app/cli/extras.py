"""What a command says where the packages that it needs are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from app.cli.failures import CommandError
from model.errors import how_to_install

_CODES = {"train": "training_unavailable", "clip": "import_unavailable"}


@contextmanager
def needs_extra(extra: Literal["train", "clip"]) -> Iterator[None]:
    """Say which extra is missing where an import fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise CommandError(
            _CODES[extra],
            f"This command needs the package {error.name}. {how_to_install(extra)}",
        ) from error
