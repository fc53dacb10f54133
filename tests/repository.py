"""What the tests of this repository itself share: where it is, and which files belong to it."""

from __future__ import annotations

import functools
import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "model", "index")


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked by git or would be added, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout  # noqa: S603
    paths = (Path(name) for name in listing.split("\0") if name)
    return tuple(path for path in paths if (ROOT / path).is_file())


def sources() -> list[Path]:
    """The Python files of the three packages, relative to the root."""
    return [path for path in files() if path.parts[0] in PACKAGES and path.suffix == ".py"]


def project() -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = document["project"]
    return table
