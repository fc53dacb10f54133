"""README and docs promise only what exists: commands, requests, settings and their defaults, files."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import typer.main

from app.cli import application
from app.main import create_app
from app.settings import Settings
from tests.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
EVERYTHING = "\n".join((README, *DOCS.values()))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def shown_default(value: Any) -> str:
    if value is None:
        return ""
    return f"`{json.dumps(value) if isinstance(value, tuple) else value}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_table_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    row = re.search(rf"^\| `VISEM_{name.upper()}` \|(.*)\|(.*)\|$", DOCS["configuration.md"], re.MULTILINE)

    assert row is not None
    assert row[1].strip() == shown_default(field.default)
    assert row[2].strip()


def test_every_variable_is_a_setting() -> None:
    named = set(re.findall(r"VISEM_([A-Z0-9_]+)", EVERYTHING))

    assert named <= {name.upper() for name in Settings.model_fields}


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"(?:^    |`|&& |=\S+ )make ([a-z]+)", EVERYTHING, re.MULTILINE))

    assert {"serve", "test"} <= named <= targets


def requests() -> list[tuple[str, str]]:
    """Method and path of every `curl` line."""
    found = []
    for line in re.findall(r"^ +(curl .*?)(?: +#.*)?$", EVERYTHING, re.MULTILINE):
        words = shlex.split(line)
        url = next(word for word in words if word.startswith("http://127.0.0.1:8000"))
        path = url.removeprefix("http://127.0.0.1:8000").partition("?")[0]
        method = "GET"
        if "-X" in words:
            method = words[words.index("-X") + 1]
        elif ("-F" in words or "-d" in words) and "-G" not in words:
            method = "POST"
        found.append((method, path))
    return found


def test_every_request_has_a_route() -> None:
    paths = create_app(Settings(api_key=None)).openapi()["paths"]
    routes = {(method.upper(), re.sub(r"\{\w+\}", "ID", path)) for path, item in paths.items() for method in item}

    assert len(requests()) > 25
    assert not [request for request in requests() if request not in routes]


def test_every_command_and_its_options_exist() -> None:
    lines = re.findall(r"^    (?:\S+/)?visem (.*?)(?: +#.*)?$", EVERYTHING, re.MULTILINE)
    assert len(lines) > 25
    for line in lines:
        command = typer.main.get_command(application)
        words = shlex.split(line)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, line


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("name", ["README.md", *DOCS])
def test_every_link_leads_somewhere(name: str) -> None:
    folder, text = (ROOT, README) if name == "README.md" else (ROOT / "docs", DOCS[name])
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]

    assert not [link for link in links if not (folder / link).is_file()]


@pytest.mark.parametrize("name", DOCS)
def test_every_document_can_be_found_from_the_readme(name: str) -> None:
    seen: set[str] = set()
    todo = re.findall(r"\]\(docs/(\w[\w-]*\.md)\)", README)
    while todo:
        document = todo.pop()
        if document not in seen:
            seen.add(document)
            todo += re.findall(r"\]\((\w[\w-]*\.md)\)", DOCS[document])

    assert name in seen
