from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import index
from index import (
    Library,
    LibraryConfig,
    LibraryError,
    NewImage,
    NewSentence,
    Space,
    open_library,
)
from index.catalog import open_catalog
from index.catalog.sqlite import SqliteDatabase

PathOf = Callable[..., Path]

Image = Callable[..., NewImage]


def execute(root: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(root / "catalog.sqlite")) as connection, connection:
        connection.execute(statement, parameters)


@pytest.mark.parametrize("content", [b"this is not a database, " * 50, b"\x00" * 5000])
def test_a_file_that_is_no_database_is_named(root: Path, space: Space, content: bytes) -> None:
    root.mkdir()
    (root / "catalog.sqlite").write_bytes(content)
    with pytest.raises(index.CatalogCorrupted, match=r"catalog\.sqlite") as caught:
        open_library(LibraryConfig(root), space)
    assert caught.value.path == root / "catalog.sqlite"
    assert (root / "catalog.sqlite").read_bytes() == content


def test_the_database_of_something_else_is_refused(root: Path, space: Space) -> None:
    root.mkdir()
    execute(root, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(index.CatalogCorrupted, match="something else"):
        open_library(LibraryConfig(root), space)


def test_a_damaged_page_is_noticed_at_open(root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(60)])
    path = root / "catalog.sqlite"
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):  # every page but the first
        data[start : start + 600] = b"\xff" * 600
    path.write_bytes(data)
    with pytest.raises(index.CatalogCorrupted, match=r"catalog\.sqlite"):
        open_library(LibraryConfig(root), space)


def test_a_newer_schema_is_refused_with_both_versions(root: Path, space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    execute(root, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(index.CatalogUnsupported, match=r"version 99.*version 6"):
        open_library(LibraryConfig(root), space)


def test_a_catalog_that_lost_a_table_is_refused(root: Path, space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    execute(root, "DROP TABLE deletions")
    with pytest.raises(index.CatalogCorrupted, match="deletions"):
        open_library(LibraryConfig(root), space)


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://", "nonsense"])
def test_other_databases_are_not_supported_yet(url: str, space: Space) -> None:
    with pytest.raises(index.CatalogUnsupported, match="sqlite:///"):
        open_catalog(url, space, lambda: True)


def test_a_catalog_may_live_elsewhere(root: Path, tmp_path: Path, space: Space, image: Image) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    with open_library(LibraryConfig(root, catalog=url), space) as library:
        library.add_images([image(1)])
    assert (tmp_path / "elsewhere.db").exists()
    assert not (root / "catalog.sqlite").exists()
    with open_library(LibraryConfig(root, catalog=url)) as library:
        assert library.count("images") == 1


def test_a_write_waits_for_another_process_and_then_gives_up(
    root: Path, space: Space, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteDatabase.__init__, "__defaults__", (0.2,))
    with (
        open_library(LibraryConfig(root), space) as library,
        closing(sqlite3.connect(root / "catalog.sqlite")) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(index.LibraryBusy):
            library.add_images([image(1)])
        assert library.count("images") == 0  # reading goes on
        other.rollback()
        assert library.add_images([image(1)])[0].created
        assert library.check() == []


def test_a_read_only_catalog_says_so(root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
        with pytest.raises(index.StorageFailed, match="readonly"):
            library._catalog._database.write(  # type: ignore[attr-defined]
                lambda connection: (
                    connection.exec_driver_sql("PRAGMA query_only = ON")
                    and connection.exec_driver_sql("DELETE FROM images")
                )
            )


def test_an_error_in_a_transaction_rolls_back_and_spares_the_next(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.sqlite")

    def broken(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE t (x)")  # type: ignore[attr-defined]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        database.write(broken)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)").close())
    database.close()
    database.close()
    with pytest.raises(index.LibraryClosed):
        database.write(lambda connection: None)
    with pytest.raises(index.LibraryClosed), database.read():
        pass


def test_readers_cannot_write_and_one_thread_does_all_writing(tmp_path: Path) -> None:
    with closing(SqliteDatabase(tmp_path / "x.sqlite")) as database:
        with pytest.raises(index.StorageFailed), database.read() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
        writers = {database.write(lambda connection: threading.current_thread().name) for _ in range(3)}
        assert writers == {"visem-catalog-writer"}


def test_writes_are_synchronised_in_full(tmp_path: Path) -> None:
    with closing(SqliteDatabase(tmp_path / "x.sqlite")) as database:
        modes = database.write(
            lambda connection: [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
            ]
        )
    assert modes == ["wal", 2]


def test_filtered_pages_read_no_more_than_their_rows(library: Library, image: Image) -> None:
    """SQLite's plan for a page: by the primary keys alone, without sorting or scanning."""
    library.add_images([image(1)])
    plans: list[str] = []
    collection = library._catalog.images
    for filters in ({}, {"a": "x"}, {"a": "x", "b": "y"}):
        columns = collection._columns  # type: ignore[attr-defined]
        query, key = collection.matching(filters, columns=columns)  # type: ignore[attr-defined]
        query = query.where(key < 100).order_by(key.desc()).limit(10)
        with collection._database.read() as connection:  # type: ignore[attr-defined]
            compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
            plans += [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    assert plans
    assert not [line for line in plans if "SCAN" in line or "TEMP B-TREE" in line]


def test_check_names_each_kind_of_damage(
    root: Path, space: Space, image: Image, sentence: Callable[..., NewSentence], path_of: PathOf
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        ids = [one.record.id for one in library.add_images([image(n) for n in range(8)])]
        library.add_sentences([sentence(1)])
        path_of(library, ids[0]).unlink()
        path_of(library, ids[1], "thumbnail").unlink()
        path_of(library, ids[2]).write_bytes(b"longer than it should be")
        path_of(library, ids[3]).write_bytes(b"CONTENT 3")
        with pytest.raises(index.ContentMissing, match="Restore it"):
            path_of(library, ids[0])
    execute(root, "UPDATE images SET vector = x'0102' WHERE id = ?", ids[4])
    execute(root, "UPDATE images SET metadata = '{' WHERE id = ?", ids[5])
    execute(root, "UPDATE images_labels SET value = '77' WHERE value = char(31) || '6'")
    execute(root, "INSERT INTO images_labels VALUES ('n', 'v', 999)")
    with open_library(LibraryConfig(root), space) as library:
        problems = " | ".join(library.check())
    assert f"{ids[4]} has an invalid vector" in problems
    assert f"{ids[5]} has invalid metadata" in problems
    assert f"filters of {ids[6]} do not match" in problems
    assert "for the key 999" in problems
    execute(root, "UPDATE images SET metadata = '{\"number\": 5}' WHERE id = ?", ids[5])
    with open_library(LibraryConfig(root), space) as library:
        problems = " | ".join(library.check(deep=True))
    assert f"{ids[0]} lacks its content" in problems
    assert f"{ids[1]} lacks its thumbnail" in problems
    assert f"{ids[2]} has 24 bytes" in problems
    assert f"{ids[3]} has other content" in problems
    assert ids[7] not in problems


def test_check_finds_the_same_however_the_keys_lie(
    root: Path, space: Space, sentence: Callable[..., NewSentence], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_library(LibraryConfig(root), space) as library:
        ids = [one.record.id for one in library.add_sentences([sentence(n) for n in range(12)])]
    for key in (-(1 << 63), -3, 700, (1 << 63) - 1):
        execute(root, "INSERT INTO sentences_labels VALUES ('n', 'v', ?)", key)
    execute(root, "DELETE FROM sentences_labels WHERE key = 4")
    execute(root, "UPDATE sentences SET vector = x'0102' WHERE id = ?", ids[7])
    expected = {
        *(f"sentences: there are metadata filters for the key {key} without a record" for key in (-3, 700)),
        *(
            f"sentences: there are metadata filters for the key {key} without a record"
            for key in (-(1 << 63), 2**63 - 1)
        ),
        f"sentences: the metadata filters of {ids[3]} do not match its metadata",
        f"sentences: {ids[7]} has an invalid vector: A stored vector does not have {2 * space.dimension} bytes.",
    }
    for stretch in (1 << 22, 5, 1):
        monkeypatch.setattr("index.catalog.inspection._STRETCH", stretch)
        with open_library(LibraryConfig(root), space) as library:
            found = library.check()
        assert expected <= set(found)
        assert len([line for line in found if line in expected]) == len(expected)


def test_a_broken_vector_stops_a_search_by_name(root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
    execute(root, "UPDATE images SET vector = x'0102'")
    with open_library(LibraryConfig(root), space) as library, pytest.raises(LibraryError) as caught:
        library.search(image(1).vector, 1, "images")
    assert caught.value.code == "catalog_corrupted"


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_says_so(tmp_path: Path) -> None:
    code = (
        "import errno, os, resource, sys\n"
        "from pathlib import Path\n"
        "from sqlalchemy import text\n"
        "from index.catalog.sqlite import SqliteDatabase\n"
        "from index.errors import StorageFailed\n"
        "def reason():\n"
        "    try:\n"
        "        with database.read() as connection: connection.execute(text('select * from sqlite_master'))\n"
        "    except StorageFailed as error: return getattr(error.__cause__, 'errno', None)\n"
        "database = SqliteDatabase(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "taken = []\n"
        "try:\n"
        "    while True: taken.append(os.open(os.devnull, os.O_RDONLY))\n"
        "except OSError: pass\n"
        "assert reason() == errno.EMFILE, reason()\n"
        "for one in taken: os.close(one)\n"
        "assert reason() is None\n"
        "database.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "catalog.sqlite"], check=True)  # noqa: S603
