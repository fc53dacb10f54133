"""Promises about the repository: what it declares, what it pins, and what never stands in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository import PACKAGES, ROOT, files, project, sources

REGISTRY_HOSTS = (  # in pieces, since this file is looked at, too
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "deb." + "debian.org",
    "download.py" + "torch.org",
    "crates" + ".io",
    "conda" + ".anaconda.org",
)

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def base_requirements() -> list[Requirement]:
    return [Requirement(line) for line in project()["dependencies"]]


def extra_requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    return [Requirement(line) for extra in extras for line in extra]


ENGINES = (
    Path("index/catalog/postgres.py"),
    Path("index/content/s3.py"),
    Path("index/vectors/milvus/client.py"),
    *(Path("app/ingest/bulk", name) for name in ("cluster.py", "parquet.py", "s3.py")),
)
"""What talks to an engine on other machines."""


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The top-level modules which a file imports, and whether it does so when it is imported itself."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], id(node) in at_once
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], id(node) in at_once


def test_every_import_is_declared() -> None:
    distributions = metadata.packages_distributions()
    base, extras = names(base_requirements()), names(extra_requirements())
    missing = []
    for path in sources():
        # All of training needs the extra `train`, what runs networks in torch `gpu`, an engine elsewhere its own.
        training, gpu = path.parts[:2] == ("model", "training"), path.match("model/runtime/torch_*.py")
        optional = training or gpu or path in ENGINES
        for module, at_once in imports(path):
            if module in sys.stdlib_module_names or module in PACKAGES:
                continue
            providers = {canonicalize_name(name) for name in distributions.get(module, [module])}
            allowed = base if at_once and not optional else base | extras
            if not providers & allowed:
                missing.append(f"{path} imports {module}")
    assert not missing


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    wrong = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)]

    assert not wrong
    assert len(pins) == len(constraints()), "a package stands there twice"


def test_constraints_cover_everything_that_is_declared_with_all_it_needs() -> None:
    pinned = constraints()
    missing: set[str] = set()
    seen: set[Requirement] = set()
    todo = base_requirements() + extra_requirements()
    while todo:
        requirement = todo.pop()
        if requirement in seen:
            continue
        seen.add(requirement)
        if canonicalize_name(requirement.name) not in pinned:
            missing.add(requirement.name)
        wanted = [{"extra": extra} for extra in ("", *requirement.extras)]
        for line in metadata.requires(requirement.name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in wanted):
                todo.append(needed)
    assert not missing


def test_constraints_satisfy_what_is_declared() -> None:
    pinned = constraints()
    wrong = [
        str(requirement)
        for requirement in base_requirements() + extra_requirements()
        if not requirement.specifier.contains(pinned[canonicalize_name(requirement.name)], prereleases=True)
    ]
    assert not wrong


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_package_registry_is_named(host: str) -> None:
    assert not [str(path) for path in files() if host.encode() in (ROOT / path).read_bytes().lower()]


def test_nothing_is_unpickled() -> None:
    wrong = [f"{path} imports {module}" for path in sources() for module, _ in imports(path)]
    assert not [line for line in wrong if line.rpartition(" ")[2] in FORBIDDEN_MODULES]
    for path in sources():
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if ast.unparse(node.func) == "torch.load":
                assert options.get("weights_only") == "True", f"{path}:{node.lineno}"
            assert options.get("allow_pickle", "False") == "False", f"{path}:{node.lineno}"


def test_the_distribution_has_every_file_of_the_packages() -> None:
    script = (
        "from setuptools import Distribution\n"
        "distribution = Distribution({'script_name': 'setup.py'}); distribution.parse_config_files()\n"
        "command = distribution.get_command_obj('build_py'); command.ensure_finalized()\n"
        "print('\\n'.join(command.get_outputs(include_bytecode=False)))\n"
    )
    built = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    assert built.returncode == 0, built.stderr
    packaged = {Path(line).relative_to("build/lib") for line in built.stdout.splitlines()}

    assert {path for path in files() if path.parts[0] in PACKAGES} == packaged
    assert [path for path in packaged if path.name == "py.typed"]


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert project()["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_everybody_is_told_the_same_way_to_install_an_extra() -> None:
    command = re.compile(r"\.venv/bin/pip install -c constraints\.txt -e '\.\[([^\]]+)\]'")
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in sources()}
    texts |= {path: (ROOT / path).read_text(encoding="utf-8") for path in files() if path.suffix == ".md"}

    # `pip install visem[raw]` would ask an index for a package of that name, and without -e later code has no effect.
    assert not [str(path) for path, text in texts.items() if "pip install" in command.sub("", text)]
    assert not [str(path) for path, text in texts.items() if "visem[" in text]
    named = {extra for text in texts.values() for extras in command.findall(text) for extra in extras.split(",")}
    named |= {extra for text in texts.values() for extra in re.findall(r"how_to_install\(['\"](\w+)['\"]\)", text)}
    assert named - {"{extra}"} <= set(project()["optional-dependencies"])
    assert {"raw", "jxl", "train", "clip", "cluster", "ray"} <= named


def test_serving_needs_no_torch() -> None:
    assert not names(base_requirements()) & {"torch", "torchvision", "timm"}
    assert {"torch", "timm"} <= {Requirement(line).name for line in project()["optional-dependencies"]["gpu"]}
