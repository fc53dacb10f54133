"""What other packages rely on."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import index
from index import errors

CODES = {
    "RecordNotFound": "record_not_found",
    "InvalidCursor": "invalid_cursor",
    "InvalidFilter": "invalid_filter",
    "InvalidMetadata": "invalid_metadata",
    "InvalidText": "invalid_text",
    "InvalidVector": "invalid_vector",
    "SpaceMismatch": "space_mismatch",
    "ReindexConflict": "reindex_conflict",
    "LibraryNotFound": "library_not_found",
    "LibraryClosed": "library_closed",
    "LibraryBusy": "library_busy",
    "ContentMissing": "content_missing",
    "NothingToEmbed": "content_missing",
    "StorageFailed": "storage_failed",
    "CatalogCorrupted": "catalog_corrupted",
    "CatalogUnsupported": "catalog_unsupported",
    "EngineAway": "engine_away",
    "EngineUnsupported": "engine_unsupported",
    "LibraryReplaced": "library_replaced",
    "SourceAway": "source_away",
    "SourceNotFound": "source_not_found",
    "BackupDamaged": "backup_damaged",
    "ArchiveDamaged": "archive_damaged",
    "ArchiveMismatch": "space_mismatch",
}


def test_every_error_is_exported_has_its_code_and_is_drawn_in_the_tree() -> None:
    defined = {
        name: value.code
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.LibraryError) and value is not errors.LibraryError
    }
    assert defined == CODES
    assert set(CODES) <= set(index.__all__)
    assert errors.__doc__ is not None
    for name, code in CODES.items():
        assert any(line.split()[1:3] == [name, code] for line in errors.__doc__.splitlines() if name in line)


def test_the_public_names_are_there_once() -> None:  # ruff keeps them sorted
    assert len(set(index.__all__)) == len(index.__all__)
    assert all(hasattr(index, name) for name in index.__all__)


def test_nothing_unpickles_and_nothing_looks_at_other_packages() -> None:
    for path in Path(index.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.split(".")[0] for name in names} & {"pickle", "torch", "model", "app"}, path
