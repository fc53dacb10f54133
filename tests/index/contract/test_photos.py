"""What every catalog does with what files say; see `index.interfaces.PhotoStore` and `Collection.page`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

import index
from index import Library, Month, Near, NewImage, Order, PhotoFacts, PhotoFilter, Place, Space
from tests.index.contract.conftest import wherever_files_are

Image = Callable[..., NewImage]
OpenLibrary = Callable[..., Library]

BERLIN = timezone(timedelta(hours=2))
TOKYO = timezone(timedelta(hours=9))
FACTS = {
    1: PhotoFacts(
        taken=datetime(2024, 5, 1, 10, 30, 0, 250_000, BERLIN),
        camera="Canon EOS R5",
        lens="RF 50mm F1.2",
        place=Place(52.52, 13.405),
        orientation=6,
        title="Über allem",
        keywords=("Ruh", "Gipfel"),
    ),
    2: PhotoFacts(taken=datetime(2024, 5, 1, 10, 30), camera="Apple iPhone 12", place=Place(-16.5, 179.99)),
    3: PhotoFacts(taken=datetime(2024, 5, 1, 16, 0, tzinfo=TOKYO), camera="CANON 100%_X", place=Place(-16.5, -179.99)),
    4: PhotoFacts(taken=datetime(2023, 12, 31, 23, 59, 59, 999_999), place=Place(89.999, 0.0)),
    5: PhotoFacts(title="undated"),
    6: PhotoFacts(taken=datetime(1960, 2, 29, 12, 0), place=Place(89.999, 180.0)),
}


@pytest.fixture
def photos(library: Library, image: Image) -> Library:
    """Images 0 and 7 are of files that nobody has asked, the others say what is above."""
    library.add_images([image(n, facts=FACTS.get(n)) for n in range(8)])
    return library


def numbers(records: list[Any]) -> list[int]:
    return [record.metadata["number"] for record in records]


def found(library: Library, **fields: Any) -> list[int]:
    return numbers(library.list_images(photo=PhotoFilter(**fields)).items)


def walk(library: Library, order: Order, limit: int, **query: Any) -> list[int]:
    walked: list[int] = []
    cursor = None
    while len(walked) <= 100:
        page = library.list_images(cursor, limit, order=order, **query)
        walked += numbers(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return walked


def test_facts_are_kept_as_they_are(photos: Library, open_parts: OpenLibrary, space: Space) -> None:
    for library in (photos, open_parts(space)):
        kept = {record.metadata["number"]: record.facts for record in library.list_images().items}
        assert kept == {n: FACTS.get(n, PhotoFacts()) for n in range(8)}
        assert [str(kept[n].taken) for n in (1, 2)] == ["2024-05-01 10:30:00.250000+02:00", "2024-05-01 10:30:00"]
        assert library.check() == []


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"taken_after": datetime(2024, 5, 1)}, [3, 2, 1]),
    ({"taken_after": datetime(2024, 5, 1, 10, 30)}, [3, 2, 1]),
    ({"taken_after": datetime(2024, 5, 1, 10, 30, 0, 1)}, [3, 1]),
    ({"taken_before": datetime(2024, 5, 1, 10, 30)}, [6, 4]),
    ({"taken_before": datetime(2024, 1, 1)}, [6, 4]),
    ({"taken_after": datetime(2024, 5, 1), "taken_before": datetime(2024, 5, 1, 11)}, [2, 1]),
    # Moments: 1 is at 08:30 UTC, 3 at 07:00 UTC, and 2 has the offset that is asked for.
    ({"taken_after": datetime(2024, 5, 1, 8, 0, tzinfo=UTC)}, [2, 1]),
    ({"taken_after": datetime(2024, 5, 1, 7, 0, tzinfo=UTC)}, [3, 2, 1]),
    ({"taken_after": datetime(2024, 5, 1, 10, 0, tzinfo=BERLIN)}, [2, 1]),
    ({"taken_after": datetime(2024, 5, 1, 11, 0, tzinfo=BERLIN)}, []),
    ({"taken_before": datetime(2024, 5, 1, 7, 0, 0, 1, tzinfo=UTC)}, [6, 4, 3]),
    ({"taken_before": datetime(2024, 5, 1, 12, 0, tzinfo=TOKYO)}, [6, 4, 2]),
    ({"camera": "canon"}, [3, 1]),
    ({"camera": "EOS r5"}, [1]),
    ({"camera": "%"}, [3]),
    ({"camera": "0%_x"}, [3]),
    ({"camera": "_"}, [3]),
    ({"camera": "nikon"}, []),
    ({"near": Near(52.5, 13.4, 3)}, [1]),
    ({"near": Near(52.5, 13.4, 2)}, []),
    ({"near": Near(52.52, 13.405, 0)}, [1]),
    ({"near": Near(-16.5, 180.0, 2)}, [3, 2]),
    ({"near": Near(-16.5, -180.0, 1)}, []),
    ({"near": Near(90.0, 77.0, 0.2)}, [6, 4]),
    ({"near": Near(0.0, 0.0, 20_100)}, [6, 4, 3, 2, 1]),
    ({"near": Near(0.0, 0.0, 1e9)}, [6, 4, 3, 2, 1]),
    ({"near": Near(52.5, 13.4, 3), "camera": "canon", "taken_after": datetime(2024, 5, 1)}, [1]),
]


def test_filters(photos: Library) -> None:
    for fields, expected in FILTERS:
        assert found(photos, **fields) == expected, fields
        photo = PhotoFilter(**fields)
        assert photos.list_images(photo=photo).total == len(expected), fields
        hits = photos.search(np.ones(32), 10, "images", photo=photo)
        assert sorted(numbers([hit.record for hit in hits.items]), reverse=True) == expected, fields
        assert hits.total == len(expected), fields
        assert photos.search(np.ones(32), 10, "sentences", photo=photo).items == [], fields


def test_filters_of_all_kinds_together(photos: Library) -> None:
    photo = PhotoFilter(camera="canon")
    assert numbers(photos.list_images(filters={"number": "3"}, photo=photo).items) == [3]
    assert photos.list_images(filters={"number": "4"}, photo=photo).total == 0
    with pytest.raises(index.InvalidCursor):
        photos.list_images(photos.list_images(limit=1, photo=photo).next_cursor, photo=PhotoFilter(camera="apple"))


def test_orders(photos: Library) -> None:
    for limit in (1, 2, 3, 5, 20):
        walked = {
            (by, ascending): walk(photos, Order(by, ascending), limit)
            for by in ("added", "taken")
            for ascending in (False, True)
        }
        assert walked == {
            ("added", False): [7, 6, 5, 4, 3, 2, 1, 0],
            ("added", True): [0, 1, 2, 3, 4, 5, 6, 7],
            ("taken", False): [3, 1, 2, 4, 6, 7, 5, 0],
            ("taken", True): [6, 4, 2, 1, 3, 0, 5, 7],
        }


def test_the_same_time_is_ordered_by_when_it_was_added(library: Library, image: Image) -> None:
    same = PhotoFacts(taken=datetime(2024, 5, 1))
    library.add_images([image(n, facts=same) for n in range(7)])
    assert walk(library, Order("taken"), 2) == [6, 5, 4, 3, 2, 1, 0]
    assert walk(library, Order("taken", ascending=True), 3) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("ascending", [False, True])
def test_nothing_is_skipped_when_records_go_between_two_pages(photos: Library, ascending: bool) -> None:
    order = Order("taken", ascending)
    whole = walk(photos, order, 20)
    page = photos.list_images(None, 3, order=order)
    assert numbers(page.items) == whole[:3]
    photos.delete_images([page.items[0].id, page.items[-1].id])
    assert numbers(photos.list_images(page.next_cursor, 20, order=order).items) == whole[3:]
    with pytest.raises(index.InvalidCursor):
        photos.list_images(page.next_cursor, 20, order=Order("taken", not ascending))


def test_an_order_with_filters(photos: Library) -> None:
    query = {"filters": {}, "photo": PhotoFilter(taken_after=datetime(2000, 1, 1))}
    assert walk(photos, Order("taken", ascending=True), 1, **query) == [4, 2, 1, 3]
    assert walk(photos, Order("taken"), 1, filters={"number": "5"}) == [5]


def test_months(photos: Library) -> None:
    assert photos.months() == [Month(2024, 5, 3), Month(2023, 12, 1), Month(1960, 2, 1)]
    assert photos.months(photo=PhotoFilter(camera="canon")) == [Month(2024, 5, 2)]
    assert photos.months({"number": "6"}) == [Month(1960, 2, 1)]
    assert photos.months({"number": "5"}) == []


@wherever_files_are
def test_facts_are_filled_in_once_and_go_on_where_they_stopped(photos: Library, image: Image) -> None:
    photos.add_images([image(n) for n in range(100, 150)])
    asked: list[bytes] = []

    def read(contents: list[bytes]) -> list[PhotoFacts]:
        if len(asked) > 30:
            raise KeyboardInterrupt
        asked.extend(contents)
        return [PhotoFacts(title=content.decode()) for content in contents]

    with pytest.raises(KeyboardInterrupt):
        photos.backfill.fill_facts(read)
    stopped = len(asked)
    assert 0 < stopped < 52
    assert photos.backfill.unread_facts() == 52 - stopped
    told: list[tuple[int, int]] = []
    assert photos.backfill.fill_facts(
        lambda contents: [PhotoFacts(title=content.decode()) for content in contents],
        lambda done, total: told.append((done, total)),
    ) == (52 - stopped, 0)
    assert told[0] == (0, 52 - stopped)
    assert told[-1] == (52 - stopped, 52 - stopped)
    assert photos.backfill.unread_facts() == 0
    for record in photos.list_images(limit=100).items:
        number = record.metadata["number"]
        assert record.facts == FACTS.get(number, PhotoFacts(title=f"content {number}"))


@wherever_files_are
def test_a_file_that_is_missing_does_not_stop_the_rest(photos: Library) -> None:
    lost = next(record for record in photos.list_images().items if record.metadata["number"] == 7)
    photos._content.delete(lost.sha256)
    assert photos.backfill.fill_facts(lambda contents: [PhotoFacts() for _ in contents]) == (1, 1)
    assert photos.backfill.unread_facts() == 1
