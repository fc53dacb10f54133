"""What a search of a library keeps whatever its parts are made of: order, pages, filters, exclusions, cursors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import index
from index import Hit, Library, NewImage, NewSentence, Page

Image = Callable[..., NewImage]

pytestmark = pytest.mark.parametrize(  # where files are does not matter
    "open_parts", ["folder", "postgresql", "postgresql-milvus"], indirect=True
)


def exact(library: Library, query: np.ndarray) -> list[tuple[str, float]]:
    """All images and their cosines by plain arithmetic, best first."""
    ids = [record.id for record in library.list_images(limit=10_000).items][::-1]
    scores = library.image_vectors(ids) @ (query / np.linalg.norm(query))
    order = np.argsort(-scores, kind="stable")
    return [(ids[at], float(scores[at])) for at in order]


def pages(library: Library, query: np.ndarray, k: int, **options: object) -> list[Page[Hit]]:
    found = [library.search(query, k, "images", **options)]
    while found[-1].next_cursor is not None:
        found.append(library.search(query, k, "images", cursor=found[-1].next_cursor, **options))
    return found


def ids_of(found: list[Page[Hit]]) -> list[str]:
    return [hit.record.id for page in found for hit in page.items]


@pytest.fixture
def filled(library: Library, image: Image) -> Library:
    parity = ["even", "odd"]
    library.add_images([image(n, metadata={"third": n % 3 == 0, "parity": parity[n % 2]}) for n in range(60)])
    return library


def scores_are_cosines_and_the_best_come_first(filled: Library) -> None:
    query = np.random.default_rng(99).normal(size=filled.space.dimension) * 1000
    page = filled.search(query, 60, "images")
    expected = exact(filled, query)
    assert [hit.record.id for hit in page.items] == [id for id, _ in expected]
    np.testing.assert_allclose([hit.score for hit in page.items], [score for _, score in expected], atol=1e-6)
    assert (page.total, page.next_cursor) == (60, None)


def a_record_finds_itself_with_a_cosine_of_one(filled: Library) -> None:
    record = filled.list_images(limit=1).items[0]
    (hit,) = filled.search(filled.image_vectors([record.id])[0], 1, "images").items
    assert hit.record == record
    assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert hit.score <= 1.0


def pages_together_are_the_whole_list(filled: Library) -> None:
    query = np.random.default_rng(5).normal(size=filled.space.dimension)
    for k in (1, 7, 59, 60, 100):
        found = pages(filled, query, k)
        assert ids_of(found) == [id for id, _ in exact(filled, query)]
        assert len(found) == -(-60 // k)


def filters_are_exact(filled: Library) -> None:
    cases: list[tuple[dict[str, str], Callable[[int], bool]]] = [
        ({"third": "true"}, lambda n: n % 3 == 0),
        ({"third": "false", "parity": "even"}, lambda n: bool(n % 3) and n % 2 == 0),
        ({"number": "7"}, lambda n: False),
    ]
    query = np.random.default_rng(8).normal(size=filled.space.dimension)
    names = {record.id: int(record.filename.removesuffix(".png")) for record in filled.list_images(None, 99).items}
    for filters, matches in cases:
        found = pages(filled, query, 4, filters=filters)
        expected = [id for id, _ in exact(filled, query) if matches(names[id])]
        assert ids_of(found) == expected
        assert found[0].total == len(expected)


def excluded_records_are_left_out(filled: Library) -> None:
    query = np.random.default_rng(9).normal(size=filled.space.dimension)
    order = [id for id, _ in exact(filled, query)]
    found = pages(filled, query, 9, exclude=[order[0], order[5], "unknown", order[0]])
    assert ids_of(found) == [id for id in order if id not in (order[0], order[5])]
    assert found[0].total == 58
    odd = pages(filled, query, 9, exclude=order[:30], filters={"parity": "odd"})
    assert odd[0].total == len(ids_of(odd))
    assert not set(ids_of(odd)) & set(order[:30])


def a_lowest_score_ends_the_list(filled: Library) -> None:
    query = np.random.default_rng(10).normal(size=filled.space.dimension)
    good = [id for id, score in exact(filled, query) if score >= 0.05]
    assert 5 < len(good) < 55
    found = pages(filled, query, 5, min_score=0.05)
    assert ids_of(found) == good
    assert found[-1].next_cursor is None
    assert filled.search(query, 5, "images", min_score=1.1).items == []
    assert len(ids_of(pages(filled, query, 50, min_score=-1.0))) == 60


def a_cursor_belongs_to_its_query(filled: Library) -> None:
    query = np.random.default_rng(11).normal(size=filled.space.dimension)
    cursor = filled.search(query, 5, "images", filters={"third": "true"}).next_cursor
    assert filled.search(query, 9, "images", filters={"third": "true"}, cursor=cursor).items
    for other in (
        {"vector": query + 1e-3, "filters": {"third": "true"}},
        {"filters": {"third": "false"}},
        {"filters": {}},
        {"filters": {"third": "true"}, "min_score": 0.1},
        {"filters": {"third": "true"}, "exclude": ["x"]},
        {"filters": {"third": "true"}, "target": "sentences"},
    ):
        with pytest.raises(index.InvalidCursor):
            filled.search(**{"vector": query, "k": 5, "target": "images", "cursor": cursor, **other})
    with pytest.raises(index.InvalidCursor):
        filled.list_images(cursor, filters={"third": "true"})


def a_query_without_a_direction_or_a_target_is_refused(filled: Library) -> None:
    for bad in (
        np.zeros(32),
        np.full(32, np.inf),
        np.full(32, np.nan),
        np.ones(31),
        np.ones((1, 32)),
        np.array(["a"] * 32),
    ):
        with pytest.raises(index.InvalidVector):
            filled.search(bad, 1, "images")
    with pytest.raises(ValueError, match="videos"):
        filled.search(np.ones(32), 1, "videos")  # type: ignore[arg-type]


LOOKS = (
    scores_are_cosines_and_the_best_come_first,
    a_record_finds_itself_with_a_cosine_of_one,
    pages_together_are_the_whole_list,
    filters_are_exact,
    excluded_records_are_left_out,
    a_lowest_score_ends_the_list,
    a_cursor_belongs_to_its_query,
    a_query_without_a_direction_or_a_target_is_refused,
)
"""What changes nothing is asked of one library: it takes Milvus seconds to make one, and to remove it."""


def test_a_library_that_stays_as_it_is(filled: Library) -> None:
    for look in LOOKS:
        look(filled)


def test_ties_are_in_the_order_of_adding_on_every_page(library: Library, image: Image) -> None:
    same = np.ones(library.space.dimension)
    library.add_images([image(n, vector=same if n % 5 else image(n).vector) for n in range(100)])
    found = ids_of(pages(library, same, 3))
    tied = [record.id for record in library.list_images(limit=100).items[::-1] if record.metadata["number"] % 5]
    assert found[:80] == tied
    assert len(set(found)) == 100


def test_deleting_between_pages_skips_nothing_and_repeats_nothing(filled: Library) -> None:
    query = np.random.default_rng(6).normal(size=filled.space.dimension)
    order = [id for id, _ in exact(filled, query)]
    first = filled.search(query, 10, "images")
    filled.delete_images([*order[:3], order[9], order[12]])  # behind, at, and ahead of the cursor
    second = filled.search(query, 10, "images", cursor=first.next_cursor)
    assert [hit.record.id for hit in second.items] == [*order[10:12], *order[13:21]]
    assert second.total == 55


def test_adding_between_pages_repeats_nothing(filled: Library, image: Image) -> None:
    query = np.random.default_rng(77).normal(size=filled.space.dimension)
    order = [id for id, _ in exact(filled, query)]
    first = filled.search(query, 10, "images")
    filled.add_images([image(n, vector=query + 0.01 * image(n).vector) for n in range(1000, 1060)])
    anew = filled.search(query, 10, "images")  # a new query sees the new ones first
    assert not set(ids_of([anew])) & set(order)
    second = filled.search(query, 10, "images", cursor=first.next_cursor)
    assert [hit.record.id for hit in second.items] == order[10:20]


def test_sentences_are_searched_apart_from_images(
    filled: Library, sentence: Callable[..., NewSentence], vector: Callable[[int], np.ndarray]
) -> None:
    assert filled.search(vector(3), 5, "sentences").items == []
    records = [one.record for one in filled.add_sentences([sentence(n) for n in range(3)])]
    assert [hit.record for hit in filled.search(vector(1), 1, "sentences").items] == [records[1]]
    assert filled.search(vector(1), 1, "images").items[0].record.filename == "1.png"


def test_searching_while_others_add_and_delete(library: Library, image: Image) -> None:
    """What was there all the time is always found, what was deleted before never is."""
    kept = [one.record.id for one in library.add_images([image(n) for n in range(20)])]
    query = image(3).vector

    def churn(start: int) -> None:
        for n in range(start, start + 15):
            id = library.add_images([image(n, vector=query)])[0].record.id
            library.delete_image(id)
            page = library.search(query, 100, "images")
            assert id not in [hit.record.id for hit in page.items]

    def look(_: int) -> None:
        for _ in range(15):
            found = [hit.record.id for hit in library.search(query, 100, "images").items]
            assert len(set(found)) == len(found)
            assert set(kept) <= set(found)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda work: work[0](work[1]), [(churn, 1000), (look, 0), (churn, 2000), (look, 1)]))
    assert library.check() == []
