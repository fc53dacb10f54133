"""Lists of a library: their order, pages and filters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from index import (
    Library,
    NewImage,
)

Image = Callable[..., NewImage]


def test_order_of_adding_is_order_of_listing(library: Library, image: Image) -> None:
    added = library.add_images([image(number) for number in range(7)])
    library.add_images([image(7)])
    listed = library.list_images(limit=50)
    assert [record.filename for record in listed.items] == [f"{number}.png" for number in range(7, -1, -1)]
    assert [one.record.filename for one in added] == [f"{number}.png" for number in range(7)]
    assert (listed.next_cursor, listed.total) == (None, 8)


def test_pages_of_a_list_neither_skip_nor_repeat(library: Library, image: Image) -> None:
    records = [one.record for one in library.add_images([image(number) for number in range(10)])]
    first = library.list_images(limit=4)
    library.delete_images([records[9].id, records[6].id, records[5].id])  # the cursor's own record among them
    library.add_images([image(10)])
    second = library.list_images(limit=4, cursor=first.next_cursor)
    third = library.list_images(limit=4, cursor=second.next_cursor)
    assert [record.filename for record in first.items] == ["9.png", "8.png", "7.png", "6.png"]
    assert [record.filename for record in second.items] == ["4.png", "3.png", "2.png", "1.png"]
    assert [record.filename for record in third.items] == ["0.png"]
    assert third.next_cursor is None


def test_lists_are_filtered_by_the_text_of_a_value(library: Library, image: Image) -> None:
    metadata = [
        {"n": 3, "s": "holiday", "b": True, "z": None},
        {"n": "3", "s": "holiday", "b": "true", "a.b": "dotted"},
        {"n": 30, "s": "Holiday", "a": {"b": "dotted"}, "l": [1, "x"]},
    ]
    library.add_images([image(number, metadata=value) for number, value in enumerate(metadata)])

    def found(**filters: str) -> list[str | None]:
        page = library.list_images(filters=filters)
        assert page.total == len(page.items)
        return [record.filename for record in page.items]

    assert found(n="3") == ["1.png", "0.png"]
    assert found(b="true", s="holiday") == ["1.png", "0.png"]
    assert found(s="Holiday", n="30") == ["2.png"]
    assert found(z="null") == ["0.png"]
    assert found(l='[1,"x"]') == ["2.png"]
    assert found(**{"a.b": "dotted"}) == ["1.png"]
    assert found(n="3", s="Holiday") == []


def test_filters_follow_an_update_and_a_deletion(library: Library, image: Image) -> None:
    one, two = (added.record for added in library.add_images([image(1), image(2)]))
    library.update_image(one.id, lambda _: {"colour": "blue"})
    assert library.list_images(filters={"number": "1"}).items == []
    assert [record.id for record in library.list_images(filters={"colour": "blue"}).items] == [one.id]
    library.delete_image(two.id)
    assert library.list_images(filters={"number": "2"}).total == 0
    assert library.check() == []


def test_pages_of_a_filtered_list(library: Library, image: Image) -> None:
    library.add_images([image(n, metadata={"even": n % 2 == 0, "kind": "x"}) for n in range(12)])
    names, cursor = [], None
    while True:
        page = library.list_images(cursor, 2, {"even": "true", "kind": "x"})
        names += [record.filename for record in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [f"{number}.png" for number in (10, 8, 6, 4, 2, 0)]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one_item(library: Library, limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        library.list_images(limit=limit)
    with pytest.raises(ValueError, match="at least 1"):
        library.search(np.ones(library.space.dimension), limit, "images")
