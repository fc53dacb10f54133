"""Settings come from the environment, and secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


def test_defaults_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.api_key is None
    assert settings.allowed_origins == ()
    assert settings.library == Path("library")


def test_the_environment_is_read_when_settings_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEM_PORT", "9000")
    monkeypatch.setenv("VISEM_LIBRARY", "/srv/photos")
    monkeypatch.setenv("VISEM_ALLOWED_ORIGINS", '["https://example.org"]')
    monkeypatch.setenv("VISEM_BUNDLE", "")
    monkeypatch.setenv("VISEM_API_KEY", "correct horse battery")
    settings = Settings()
    assert settings.port == 9000
    assert settings.library == Path("/srv/photos")
    assert settings.allowed_origins == ("https://example.org",)
    assert settings.bundle is None
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "correct horse battery"


def test_the_key_does_not_show() -> None:
    settings = Settings(api_key="correct horse battery")
    assert "correct" not in repr(settings)
    assert "correct" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("device", "tpu"),
        ("batch_size", "0"),
        ("max_files", "0"),
        ("log_level", "loud"),
        ("api_key", "schlüssel-schlüssel"),
        ("api_key", " padded-with-spaces "),
        ("api_key", "fifteen-letters"),
    ],
)
def test_nonsense_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"VISEM_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name) as caught:
        Settings()
    if name == "api_key":
        assert value not in str(caught.value)


def test_urls_of_s3_need_content_on_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().s3_presigned == "off"
    monkeypatch.setenv("VISEM_S3_PRESIGNED", "on")
    with pytest.raises(ValidationError, match="VISEM_CONTENT=s3://bucket/prefix"):
        Settings()
    monkeypatch.setenv("VISEM_CONTENT", "s3://photos/library")
    assert Settings().s3_presigned == "on"


def test_an_empty_key_is_an_error_and_no_other_empty_variable_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "BUNDLE", "ALLOWED_ORIGINS"):
        monkeypatch.setenv(f"VISEM_{name}", "")
    assert Settings().api_key is None
    monkeypatch.setenv("VISEM_API_KEY", "")
    with pytest.raises(ValidationError, match="at least 16 characters"):
        Settings()
