"""`visem serve --workers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.cli.conftest import Run


@pytest.mark.parametrize("number", ["0", "-1", "257", "many", "1.5", ""])
def test_nonsense_is_refused(run: Run, library: Path, number: str) -> None:
    outcome = run("serve", "--workers", number)
    assert outcome.status == 2
    assert "--workers" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not library.exists()


@pytest.mark.parametrize("number", ["0", "-1", "257", "many", "1.5"])
def test_nonsense_in_the_environment_is_refused(
    run: Run, library: Path, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEM_WORKERS", number)
    outcome = run("serve")
    assert outcome.status == 2
    assert outcome.stderr.startswith("visem: VISEM_WORKERS: Input should be ")
    assert not library.exists()


def test_the_help_says_what_happens_without_it(run: Run) -> None:
    text = " ".join(run("serve", "--help").stdout.split())
    assert "VISEM_WORKERS; one for each core where there are four or more" in text
