"""Print the dependencies of a pyproject.toml, one a line: `python requirements.py pyproject.toml [EXTRA...]`.

The Dockerfile installs them before it copies the code, in a layer of their own.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """The base dependencies, those of the extras, and the build backend; KeyError for an unknown extra."""
    document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = document["project"]
    chosen = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*document["build-system"]["requires"], *project["dependencies"], *chosen]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
