"""Readiness is checked for real, but not for everybody who asks."""

from __future__ import annotations

import logging

import pytest

from app.http.readiness import Readiness


class Check:
    def __init__(self) -> None:
        self.calls = 0
        self.broken = False

    def __call__(self) -> None:
        self.calls += 1
        if self.broken:
            raise RuntimeError("secret reason")


def test_an_outcome_is_kept_for_a_moment() -> None:
    check = Check()
    readiness = Readiness(check, lifetime=60)
    assert readiness.failure() is None
    check.broken = True
    assert readiness.failure() is None
    assert check.calls == 1


def test_failures_are_noticed_logged_and_recovered_from(caplog: pytest.LogCaptureFixture) -> None:
    check = Check()
    readiness = Readiness(check, lifetime=0)
    check.broken = True
    with caplog.at_level(logging.ERROR):
        assert isinstance(readiness.failure(), RuntimeError)
    assert "secret reason" in caplog.text
    check.broken = False
    assert readiness.failure() is None
    assert check.calls == 2
