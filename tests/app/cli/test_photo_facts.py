"""`visem list`, `visem facts`, and the limits of `visem search`."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.app.cli.conftest import Run
from tests.app.photographs import FILES


@pytest.fixture
def photos(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "=1+1.jpg").write_bytes(FILES["scan.jpg"] + b"\0")
    assert run("add", str(folder)).status == 0
    return folder


def test_lists_searches_tables_and_files_that_were_not_asked(run: Run, photos: Path, library: Path) -> None:
    listed = run("list", "--sort", "taken", "--order", "asc", "--json").document
    assert [item["filename"] for item in listed["items"]][:3] == ["snow.jpg", "gate.jpg", "lake.jpg"]
    assert listed["total"] == 5
    only = run("list", "--near=52.52,13.405,1", "--json").document
    assert [item["camera"] for item in only["items"]] == ["Canon EOS R5"]
    hits = run("search", "a cat", "--taken-after", "2024-05", "--taken-before", "2024-06", "--json").document["hits"]
    assert {hit["filename"] for hit in hits} == {"gate.jpg", "lake.jpg"}
    bad = run("search", "a cat", "--taken-after", "soon", "--json")
    assert (bad.status, bad.document["error"]["code"]) == (2, "invalid_request")
    table = list(csv.DictReader(io.StringIO(run("list", "--csv", "-", "--sort", "taken").stdout)))
    assert [row["taken"] for row in table][:2] == ["2024-05-31T23:59:59", "2024-05-01T10:30:15+02:00"]
    assert {row["filename"] for row in table} >= {"'=1+1.jpg", "scan.jpg"}
    assert {row["latitude"][:5] for row in table} == {"52.52", ""}

    with closing(sqlite3.connect(library / "catalog.sqlite")) as connection, connection:  # as of an earlier version
        connection.execute("UPDATE images SET facts_read = 0, taken = NULL, camera = NULL")
    assert run("list", "--camera", "canon", "--json").document["total"] == 0
    assert run("facts", "--json").document == {"read": 5, "missing": 0}
    assert run("facts", "--json").document == {"read": 0, "missing": 0}
    assert run("list", "--camera", "canon", "--json").document["total"] == 2
