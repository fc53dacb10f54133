"""Logs are one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys

from app.logs import JsonFormatter


def format_record(**values: object) -> str:
    record = logging.makeLogRecord({"name": "app.test", "levelname": "INFO", "levelno": 20, **values})
    return JsonFormatter().format(record)


def test_a_record_is_one_line_of_json() -> None:
    line = format_record(msg="first\nsecond %s", args=("x",), fields={"path": "/a\nb", "status": 200})
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "first\nsecond x"
    assert entry["level"] == "info"
    assert entry["logger"] == "app.test"
    assert entry["path"] == "/a\nb"
    assert entry["status"] == 200
    assert entry["time"].endswith("+00:00")


def test_exceptions_are_included() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = format_record(msg="failed", exc_info=sys.exc_info())
    assert "\n" not in line
    assert "ValueError: broken" in json.loads(line)["exception"]
