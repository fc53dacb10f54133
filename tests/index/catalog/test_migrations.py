"""Libraries that earlier versions stored, opened by this one. `tests/fixtures/libraries` tells how they were made."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from index import LibraryConfig, Near, PhotoFacts, PhotoFilter, Place, Space, open_library
from index.catalog import migrations

STORED = Path(__file__).resolve().parents[2] / "fixtures" / "libraries"

Stored = tuple[Path, dict[str, Any]]


def stored(version: int, root: Path) -> Stored:
    """A copy of the library of a version, and what that version said was in it."""
    shutil.copytree(STORED / f"version-{version}", root)
    return root, json.loads((STORED / f"version-{version}.json").read_text())


@pytest.fixture(params=[1, 2, 3])
def old(request: pytest.FixtureRequest, root: Path) -> Stored:
    return stored(request.param, root)


def test_every_record_is_kept(old: Stored) -> None:
    root, expected = old
    with open_library(LibraryConfig(root)) as library:
        assert library.check(deep=True) == []
        assert library.stats().schema_version == 6
        images = {record.id: record for record in library.list_images(limit=100).items}
        sentences = {record.id: record for record in library.list_sentences(limit=100).items}
        assert set(images) == set(expected["images"])
        assert set(sentences) == set(expected["sentences"])
        for id, was in expected["images"].items():
            record = images[id]
            assert (record.filename, record.sha256, record.metadata) == (
                was["filename"],
                was["sha256"],
                was["metadata"],
            )
            assert record.created_at.isoformat() == was["created_at"]
            assert [list(concept) for concept in record.concepts] == was.get("concepts", [])
        for id, was in expected["sentences"].items():
            left = {name: value for name, value in was["metadata"].items() if not name.startswith("caption_of_")}
            assert (sentences[id].text, sentences[id].metadata) == (was["text"], left)
            assert sentences[id].created_at.isoformat() == was["created_at"]


@pytest.mark.parametrize("without_snapshots", [False, True])
def test_searches_find_the_same(old: Stored, without_snapshots: bool) -> None:
    root, expected = old
    if without_snapshots:
        shutil.rmtree(root / "index")
    with open_library(LibraryConfig(root)) as library:
        for search in expected["searches"]:
            kind, id = search["vector_of"].split(":")
            read = library.image_vectors if kind == "image" else library.sentence_vectors
            hits = library.search(read([id])[0], 10, search["target"]).items
            assert [[hit.record.id, hit.score] for hit in hits] == search["hits"]


def test_captions_are_kept_and_go_with_their_images(root: Path) -> None:
    root, expected = stored(2, root)
    with open_library(LibraryConfig(root)) as library:
        for image_id, sentence_ids in expected["captions"].items():
            captions = library.captions.of(image_id)
            assert [one.sentence.id for one in captions] == sentence_ids
            assert {(one.origin, one.score) for one in captions} == {("captioner", None)}
        own = {id for id, was in expected["sentences"].items() if was["metadata"].get("origin") != "captioner"}
        assert {id for ids in expected["captions"].values() for id in ids} & own  # one that somebody stored, too
        first, *others = expected["captions"]
        library.delete_image(first)
        left = {record.id for record in library.list_sentences(limit=100).items}
        assert left == own | {id for image_id in others for id in expected["captions"][image_id]}
        library.delete_images(others)
        assert {record.id for record in library.list_sentences(limit=100).items} == own
        assert library.check() == []


def test_a_deletion_that_waited_can_be_undone(root: Path) -> None:
    root, expected = stored(2, root)
    with open_library(LibraryConfig(root)) as library:
        assert [one.image_id for one in library.deletions.pending()] == expected["deleting"]
    assert not (root / "deleting").exists()
    with open_library(LibraryConfig(root)) as library:
        assert library.deletions.cancel(expected["deleting"]) == expected["deleting"]
        assert library.deletions.pending() == []
        assert library.get_image(expected["deleting"][0])


def test_captions_that_a_deletion_left_behind_are_removed(root: Path) -> None:
    root, expected = stored(2, root)
    image_id, sentence_ids = next(
        (id, ids) for id, ids in expected["captions"].items() if id not in expected["deleting"]
    )
    with closing(sqlite3.connect(root / "catalog.sqlite")) as connection, connection:
        for table in ("images_labels", "images_concepts"):
            connection.execute(
                f'DELETE FROM {table} WHERE "key" = (SELECT "key" FROM images WHERE id = ?)',  # noqa: S608
                [image_id],
            )
        connection.execute("DELETE FROM images WHERE id = ?", [image_id])
    (root / "forgetting").mkdir(exist_ok=True)
    (root / "forgetting" / image_id).touch()
    with open_library(LibraryConfig(root)) as library:
        assert library.check() == []
        left = {record.id for record in library.list_sentences(limit=100).items}
    alone = {id for id in sentence_ids if sum(id in ids for ids in expected["captions"].values()) == 1}
    generated = {id for id in alone if expected["sentences"][id]["metadata"].get("origin") == "captioner"}
    assert generated
    assert left == set(expected["sentences"]) - generated
    assert not (root / "forgetting").exists()


def test_a_migration_that_fails_changes_nothing(old: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = old

    def dump() -> list[str]:
        with closing(sqlite3.connect(root / "catalog.sqlite")) as connection:
            return list(connection.iterdump())

    before = dump()
    with monkeypatch.context() as patch:
        patch.setattr(migrations.schema, "write_meta", lambda connection, values: 1 / 0)  # the very last step
        with pytest.raises(ZeroDivisionError):
            open_library(LibraryConfig(root))
    assert dump() == before
    with open_library(LibraryConfig(root)) as library:
        assert library.check() == []


def test_several_may_open_it_at_once(old: Stored) -> None:
    root, expected = old

    def count(_: int) -> int:
        with open_library(LibraryConfig(root)) as library:
            return library.count("images")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(count, range(4))) == {len(expected["images"])}


def test_the_tables_are_those_of_a_new_library(old: Stored, tmp_path: Path, space: Space) -> None:
    root, _ = old
    open_library(LibraryConfig(root)).close()
    open_library(LibraryConfig(tmp_path / "new"), space).close()
    assert tables(root / "catalog.sqlite") == tables(tmp_path / "new" / "catalog.sqlite")


def tables(path: Path) -> dict[str, Any]:
    """Columns, keys, indexes and options of each table; the order of columns does not count."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        found = inspect(engine)
        return {
            name: (
                sorted(
                    (column["name"], str(column["type"]), column["nullable"], column["default"], column["primary_key"])
                    for column in found.get_columns(name)
                ),
                sorted((index["name"], index["column_names"]) for index in found.get_indexes(name)),
                sorted(tuple(one["column_names"]) for one in found.get_unique_constraints(name)),
                found.get_table_options(name),
            )
            for name in found.get_table_names()
        }
    finally:
        engine.dispose()


def test_an_image_of_version_1_can_be_described(root: Path, other_space: Space, space: Space) -> None:
    root, expected = stored(1, root)
    name: Callable[..., Any] = lambda vectors: [[("dog", 0.5)] for _ in vectors]  # noqa: E731
    with open_library(LibraryConfig(root), space) as library:
        assert library.backfill.describe(name) == len(expected["images"])
        assert library.list_images(concepts=["dog"]).total == len(expected["images"])


def test_facts_of_an_image_of_version_3_can_be_filled_in(root: Path) -> None:
    root, expected = stored(3, root)
    facts = PhotoFacts(taken=datetime(2023, 5, 6, 7, 8, 9), place=Place(48.0, 11.0))
    contents: list[bytes] = []

    def read(batch: list[bytes]) -> list[PhotoFacts]:
        contents.extend(batch)
        return [facts for _ in batch]

    with open_library(LibraryConfig(root)) as library:
        assert library.list_images().items[0].facts == PhotoFacts()
        assert library.backfill.unread_facts() == len(expected["images"])
        assert library.backfill.fill_facts(read) == (len(expected["images"]), 0)
        assert {hashlib.sha256(one).hexdigest() for one in contents} == {
            was["sha256"] for was in expected["images"].values()
        }
        assert library.list_images(photo=PhotoFilter(near=Near(48, 11, 1))).total == len(expected["images"])
        assert {record.facts for record in library.list_images().items} == {facts}
        assert library.check() == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"album": "Caf\u00e9"}, ["0.jpg", "1.jpg"]),
        ({"album": "Cafe\u0301"}, ["0.jpg", "1.jpg"]),
        ({"n": "2024"}, ["0.jpg", "1.jpg"]),
        ({"n": "2024.0"}, ["0.jpg", "1.jpg", "3.jpg"]),
        ({"n": "0"}, ["2.jpg"]),
        ({"flag": "true"}, ["3.jpg"]),
        ({"list": '[1, "\u00e9"]'}, ["2.jpg"]),
    ],
)
def test_filters_of_version_3_find_equal_numbers_and_text(
    root: Path, filters: dict[str, str], found: list[str]
) -> None:
    root, _ = stored(3, root)
    with open_library(LibraryConfig(root)) as library:
        assert sorted(str(one.filename) for one in library.list_images(filters=filters).items) == found
