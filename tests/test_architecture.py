"""The arrows between the packages: app uses model and index, and nothing goes the other way.

import-linter holds them; its contracts are in pyproject.toml. Here it has to pass on this repository, and to fail
on a small one that breaks each arrow.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WRONG = {
    "app": [],
    "model": ["index", "app", "fastapi", "starlette", "faiss", "sqlalchemy"],
    "index": ["model", "app", "torch", "onnxruntime", "fastapi", "starlette"],
}
"""What the modules of a package must not import, not even late inside a function."""


INNER = {
    "index.library": ["index.catalog", "index.content", "index.vectors", "boto3", "botocore", "pymilvus", "grpc"],
    "index.searching": ["index.vectors", "index.opening", "faiss"],
    "index.vectors": ["index.content"],
    "index.catalog": ["index.vectors", "psycopg"],
    "index.feed": ["sqlalchemy"],
    "app.service": ["faiss", "alembic", "model.training", "ray", "pyarrow"],
    "model.space": ["torch", "timm", "model.runtime.torch_runtime", "model.training"],
}
"""What these modules must not import, although their package may."""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)  # noqa: S603


def write_module(root: Path, name: str, text: str = "") -> None:
    """Make a module of one of our packages, as a folder, so that it can hold others; what is not ours is installed."""
    package, *rest = name.split(".")
    if package not in WRONG or not rest:
        return
    folder = root.joinpath(package, *rest)
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder, *folder.parents):
        if parent.is_relative_to(root) and parent != root:
            (parent / "__init__.py").touch()
    if text:
        (folder / "__init__.py").write_text(text)


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

    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]:
        for names in contract.values():  # every module that a contract names has to exist
            for name in names if isinstance(names, list) else []:
                for container in contract.get("containers", ("",)):
                    for part in name.split(" | "):
                        write_module(tmp_path, f"{container}.{part}".removeprefix("."))
    for importer, modules in INNER.items():
        write_module(tmp_path, importer, "".join(f"import {module}\n" for module in modules))

    result = lint_imports(tmp_path)

    assert result.returncode != 0
    for importer, modules in INNER.items():
        for module in modules:
            assert f"{importer} -> {module}" in result.stdout, result.stdout + result.stderr
    for package, modules in WRONG.items():
        for module in modules:
            assert f"{package}.uses_{module} -> {module}" in result.stdout, result.stdout + result.stderr
