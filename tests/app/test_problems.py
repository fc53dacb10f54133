"""The list of problem codes is complete, and stays in step with what model and index raise."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

import app
import index.errors
import model.errors
from app.problems import PROBLEMS, Problem


def index_codes() -> set[str]:
    classes = [value for value in vars(index.errors).values() if inspect.isclass(value)]
    return {cls.code for cls in classes if issubclass(cls, index.errors.LibraryError)}


def test_every_code_of_the_library_is_described() -> None:
    assert index_codes() <= PROBLEMS.keys()


def test_every_code_that_the_model_raises_when_serving_is_described() -> None:
    codes = {*get_args(model.errors.ImageErrorCode), *get_args(model.errors.BundleErrorCode)}
    codes |= {error.code for error in (model.errors.EmptyTextError, model.errors.NoKnownWordsError)}
    codes.add(model.errors.DegenerateQueryError.code)
    assert codes <= PROBLEMS.keys()


def test_every_code_that_app_raises_is_described() -> None:
    raised: set[str] = set()
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem" and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    raised.add(str(code.value))
    assert len(raised) > 8
    assert raised <= PROBLEMS.keys()


@pytest.mark.parametrize("kind", PROBLEMS.values(), ids=lambda kind: kind.code)
def test_descriptions_are_usable(kind: object) -> None:
    code, status, title, meaning = kind.code, kind.status, kind.title, kind.meaning  # type: ignore[attr-defined]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert 400 <= status < 600
    assert title
    assert meaning.endswith(".")


def test_an_unknown_code_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        Problem("no_such_code", "detail")
