"""The arrows between the packages: app uses model and index, and nothing goes the other way.

import-linter holds them; its contracts are in pyproject.toml. Here it has to pass on this repository, and to fail
on a small one that breaks each arrow.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WRONG = {
    "app": [],
    "model": ["index", "app", "fastapi", "starlette", "faiss", "sqlalchemy"],
    "index": ["model", "app", "torch", "onnxruntime", "fastapi", "starlette"],
}
"""What the modules of a package must not import, not even late inside a function."""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)  # noqa: S603


def test_the_packages_keep_their_directions() -> None:
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_wrong_direction_is_noticed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, modules in WRONG.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        for module in modules:
            (tmp_path / package / f"uses_{module}.py").write_text(f"def late():\n    import {module}\n")

    result = lint_imports(tmp_path)

    assert result.returncode != 0
    for package, modules in WRONG.items():
        for module in modules:
            assert f"{package}.uses_{module} -> {module}" in result.stdout, result.stdout + result.stderr
