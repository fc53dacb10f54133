"""What goes to standard output."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from app.cli.output import count, json_text, print_rows, printable, shown, size


def test_terminals_are_not_controlled_by_what_is_shown() -> None:
    assert printable("caf\u00e9 \u732b") == "caf\u00e9 \u732b"
    assert printable("a\x1b[2Jb\n\u202e") == "a\\x1b[2Jb\\n\\u202e"


def test_names_that_are_no_text_are_shown_anyway() -> None:
    assert shown(Path(os.fsdecode(b"/x/caf\xe9.jpg"))) == "/x/caf\\xe9.jpg"
    assert shown("/x/caf\u00e9.jpg") == "/x/caf\u00e9.jpg"


def test_json_suits_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, expected in (("utf-8", '"\u732b"'), ("latin-1", '"\\u732b"')):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
        assert json_text("\u732b") == expected
        assert json.loads(json_text("\u732b")) == "\u732b"


def test_rows_for_programs_and_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["1", "a\tb"], ["20", "[bold]c"]]
    print_rows(("n", "text"), rows)
    assert capsys.readouterr().out == "1\ta\\tb\n20\t[bold]c\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    print_rows(("n", "text"), rows)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["n", "text"]
    assert first.split() == ["1", "a\\tb"]
    assert second.split() == ["20", "[bold]c"]


def test_figures() -> None:
    assert count(1, "image") == "1 image"
    assert count(2000, "image") == "2,000 images"
    assert [size(number) for number in (0, 1023, 1024, 1536 * 1024, 1024**5)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "1.5 MiB",
        "1,024.0 TiB",
    ]
