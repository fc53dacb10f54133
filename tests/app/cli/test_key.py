"""`visem key`, and `visem serve` where others could reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.keys import KeyFile
from tests.app.cli.conftest import Run


def test_keys_come_and_go(run: Run, library: Path) -> None:
    assert run("key", "list").status == 0
    assert not library.exists(), "looking creates nothing"
    made = run("key", "add", "phone", "--json").document
    assert (made["name"], made["scope"]) == ("phone", "read")
    secret = run("key", "add", "backup", "--scope", "admin").stdout.strip()
    assert len(secret) > 40
    assert library.stat().st_mode & 0o777 == 0o700
    listed = run("key", "list", "--json").document["keys"]
    assert [(one["name"], one["scope"]) for one in listed] == [("backup", "admin"), ("phone", "read")]
    assert secret not in run("key", "list").stdout
    assert run("key", "remove", "phone").status == 0
    assert [key.name for key in KeyFile(library).read()] == ["backup"]
    for arguments in (("remove", "phone"), ("add", "backup"), ("add", "a b")):
        outcome = run("key", *arguments, "--json")
        assert outcome.status == 1
        assert outcome.document["error"]["code"] == "invalid_keys"
    photo = Path(__file__).parents[2] / "fixtures" / "photos" / "cat.jpg"
    assert run("add", photo).status == 0


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("0.0.0.0", {}),  # noqa: S104  # it must not come to that
        ("::", {}),
        ("192.0.2.1", {}),
        ("127.0.0.1", {"PUBLISHED_HOST": "0.0.0.0"}),  # noqa: S104
    ],
)
def test_a_service_for_others_needs_a_key(
    run: Run, library: Path, monkeypatch: pytest.MonkeyPatch, host: str, settings: dict[str, str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"VISEM_{name}", value)
    outcome = run("serve", "--host", host)
    assert outcome.status == 2
    for way in ("visem key add", "VISEM_API_KEY", "--insecure", "VISEM_INSECURE", "VISEM_PUBLISHED_HOST"):
        assert way in outcome.stderr
    assert not library.exists()


@pytest.mark.parametrize("way", ["--insecure", "VISEM_INSECURE", "VISEM_API_KEY", "VISEM_PUBLISHED_HOST", "key"])
def test_whoever_means_it_may(run: Run, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """It gets as far as the address, which is not of this machine."""
    values = {
        "VISEM_INSECURE": "1",
        "VISEM_API_KEY": "correct horse battery",
        "VISEM_PUBLISHED_HOST": "127.0.0.1",
    }
    if way in values:
        monkeypatch.setenv(way, values[way])
    if way == "key":
        run("key", "add", "phone")
    outcome = run("serve", "--host", "192.0.2.1", *(["--insecure"] if way == "--insecure" else []))
    assert outcome.status == 1
    assert "Cannot listen on 192.0.2.1" in outcome.stderr


def test_an_empty_key_is_no_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEM_API_KEY", "")
    outcome = run("serve", "--host", "127.0.0.1")
    assert outcome.status == 2
    assert "VISEM_API_KEY" in outcome.stderr
    assert "16 characters" in outcome.stderr
