"""Progress on standard error."""

from __future__ import annotations

import io
import sys

import pytest

from app.cli.progress import LineReporter, duration, progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = LineReporter("Adding", "images", clock)
    clock.now += 60  # loading the model
    reporter.update(1000, 2000)
    clock.now += 4
    reporter.update(1100, 2000)
    assert capsys.readouterr().err == ""
    clock.now += 1
    reporter.update(1200, 2000)
    assert capsys.readouterr().err == "Adding: 1,200 of 2,000 images, 40.0/s, 0:00:20 left\n"
    clock.now += 10
    reporter.update(1210, None)
    assert capsys.readouterr().err == "Adding: 1,210 images, 1.0/s\n"


def test_a_stage_that_begins_anew_is_measured_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = LineReporter("Training", "steps", clock)
    reporter.update(5, 5)
    reporter.restart()
    clock.now += 10
    reporter.update(10, 496)
    assert capsys.readouterr().err == ""
    clock.now += 10
    reporter.update(20, 496)
    assert capsys.readouterr().err == "Training: 20 of 496 steps, 1.0/s, 0:07:56 left\n"


def test_nothing_happened(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = LineReporter("Adding", "images", clock)
    reporter.update(0, 10)
    clock.now += 5
    reporter.update(0, 10)
    assert capsys.readouterr().err == "Adding: 0 of 10 images, 0.0/s\n"


def test_durations() -> None:
    assert duration(-1) == "0:00:00"
    assert duration(3725.4) == "1:02:05"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("Adding", "images") as reporter:
        reporter.update(0, 1000)
        reporter.note("Rejected [b]x.jpg: no picture")
        reporter.update(1000, 1000)
        reporter.restart()
        reporter.update(3, 7)
    assert "Rejected [b]x.jpg: no picture" in terminal.getvalue()
    assert "3 of 7 images" in terminal.getvalue()
