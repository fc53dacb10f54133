"""What every vector index keeps; see `index.interfaces.VectorIndex`. What one engine does beyond it is tested apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from index import Library, NewImage, Space
from index.interfaces import Catalog, Collection, GenerationChanged, Nearest, VectorIndex, Where
from index.pacing import Pace
from index.scoring import cosines
from index.types import ImageRecord

Image = Callable[..., NewImage]
OpenIndex = Callable[[Catalog, Collection[ImageRecord]], VectorIndex]

COUNT = 120

pytestmark = pytest.mark.parametrize(  # where files are does not matter
    ("open_parts", "open_index"),
    [
        *(("folder", kind) for kind in ("faiss-exact", "faiss-segments", "milvus")),
        *(("postgresql", kind) for kind in ("faiss-segments", "milvus")),
    ],
    indirect=True,
)


@pytest.fixture
def library(library: Library, image: Image) -> Library:
    """Records to follow: number n has its parity, and a concept."""
    library.add_images([numbered(image, n) for n in range(COUNT)])
    return library


def numbered(image: Image, n: int, **fields: object) -> NewImage:
    concepts = [("third" if n % 3 == 0 else "other", 0.5), ("thing", 0.4)]
    return image(n, metadata={"even": n % 2 == 0, "n": n}, concepts=concepts, **fields)


@pytest.fixture
def images(library: Library) -> Collection[ImageRecord]:
    return library._catalog.images


@pytest.fixture
def index(library: Library, images: Collection[ImageRecord], open_index: OpenIndex) -> Iterator[VectorIndex]:
    opened = open_index(library._catalog, images)
    opened.refresh()
    yield opened
    opened.close()
    opened.close()


@pytest.fixture
def query(vector: Callable[[int], np.ndarray]) -> np.ndarray:
    direction = vector(4711)
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def find(index: VectorIndex, query: np.ndarray, k: int, where: Where | None = None) -> Nearest:
    return index.search(query, k, where or Where(), generation=1)


def expected(images: Collection[ImageRecord], query: np.ndarray, numbers: Sequence[int]) -> list[tuple[int, float]]:
    """Keys and scores of these records by plain arithmetic on the catalog's vectors, best first, ties by key."""
    keys = images.keys({})
    by_number = {record.metadata["n"]: (key, record.id) for key, record in images.records(keys).items()}
    chosen = [by_number[n] for n in numbers if n in by_number]
    if not chosen:
        return []
    scores = cosines(query, images.vectors([id for _, id in chosen], Space("a" * 64, "first-bundle", len(query))))
    pairs = [(key, float(score)) for (key, _), score in zip(chosen, scores, strict=True)]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def pairs(found: Nearest) -> list[tuple[int, float]]:
    return list(zip(found.keys.tolist(), found.scores.tolist(), strict=True))


def the_nearest_with_their_cosines(index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray) -> None:
    everything = expected(images, query, range(COUNT))
    for k in (1, 10, COUNT - 1, COUNT, 5 * COUNT):
        found = find(index, query, k)
        if k >= COUNT or index.stats().recall == 1:
            assert pairs(found) == everything[:k]
        else:  # near ones may be missed, but what is found has its score and its place
            assert len(found.keys) == k
            assert pairs(found) == [pair for pair in everything if pair in pairs(found)]
        assert (found.scores.dtype, found.keys.dtype, found.total) == (np.float32, np.int64, COUNT)


FILTERS: list[tuple[Where, Callable[[int], bool]]] = [
    (Where({"even": "true"}), lambda n: n % 2 == 0),
    (Where({"even": "false", "n": "7"}), lambda n: n == 7),
    (Where({"n": "none"}), lambda n: False),
    (Where(concepts=("third",)), lambda n: n % 3 == 0),
    (Where({"even": "true"}, ("thing", "third")), lambda n: n % 6 == 0),
    (Where(concepts=("nothing",)), lambda n: False),
]


def a_filtered_search_is_exact(index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray) -> None:
    for where, matches in FILTERS:
        wanted = expected(images, query, [n for n in range(COUNT) if matches(n)])
        for k in (1, 7, COUNT):
            found = find(index, query, k, where)
            assert pairs(found) == wanted[:k]
            assert found.total == len(wanted)


def what_is_excluded_never_comes_back(index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray) -> None:
    ids = {record.metadata["n"]: record.id for record in images.records(images.keys({})).values()}
    exclude = (*(ids[n] for n in range(0, COUNT, 5)), "nowhere")
    rest = [n for n in range(COUNT) if n % 5]
    found = find(index, query, COUNT, Where(exclude=exclude))
    assert pairs(found) == expected(images, query, rest)
    assert found.total == len(rest)
    found = find(index, query, COUNT, Where({"even": "true"}, exclude=exclude))
    even = [n for n in rest if n % 2 == 0]
    assert pairs(found) == expected(images, query, even)
    assert found.total == len(even)
    assert find(index, query, 5, Where(exclude=tuple(ids.values()))).total == 0


def a_pair_has_the_same_score_in_any_company(
    index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray
) -> None:
    whole = dict(pairs(find(index, query, COUNT)))
    for where in (Where({"even": "true"}), Where({"n": "11"}), Where(concepts=("third",))):
        for k in (1, 3, COUNT):
            assert all(whole[key] == score for key, score in pairs(find(index, query, k, where)))


def what_it_says_of_itself(index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray) -> None:
    stats = index.stats()
    assert stats.size == COUNT
    assert stats.kind
    assert stats.recall is None or 0 < stats.recall <= 1
    index.added(1)
    assert index.problems() == []


LOOKS = (
    the_nearest_with_their_cosines,
    a_filtered_search_is_exact,
    what_is_excluded_never_comes_back,
    a_pair_has_the_same_score_in_any_company,
    what_it_says_of_itself,
)
"""What changes nothing is asked of one index: it takes Milvus seconds to make one, and to remove it."""


def test_an_index_that_stays_as_it_is(index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray) -> None:
    for look in LOOKS:
        look(index, images, query)


def test_ties_are_in_the_order_of_adding(
    library: Library, index: VectorIndex, image: Image, vector: Callable[[int], np.ndarray]
) -> None:
    library.add_images([numbered(image, n, vector=vector(1)) for n in range(1000, 1070)])
    index.refresh()
    same = library.image_vectors([library.list_images(limit=1).items[0].id])[0]
    (first, *_) = find(index, same, 1).keys.tolist()
    for k in (2, 33, 70, 71):
        found = find(index, same, k)
        assert found.keys.tolist() == sorted(found.keys.tolist())
        assert found.keys[0] == first
        assert len(set(found.scores.tolist())) == 1


def test_what_is_committed_is_found_after_a_refresh(
    library: Library, index: VectorIndex, images: Collection[ImageRecord], image: Image, query: np.ndarray
) -> None:
    (added,) = library.add_images([numbered(image, 500, vector=query)])
    (gone, *_) = (record.id for record in library.list_images(limit=2).items if record.id != added.record.id)
    index.refresh()
    assert images.records(find(index, query, 1).keys).popitem()[1] == added.record
    library.delete_images([gone, added.record.id])
    index.refresh()
    assert pairs(find(index, query, 500)) == expected(images, query, range(600))
    assert added.record.id not in [one.id for one in images.records(find(index, query, 500).keys).values()]
    assert find(index, query, 1).total == COUNT - 1


def test_filters_follow_changes_of_metadata(
    library: Library, index: VectorIndex, images: Collection[ImageRecord], query: np.ndarray
) -> None:
    record = library.list_images(filters={"n": "4"}).items[0]
    library.update_image(record.id, lambda old: {"n": "moved"})
    index.refresh()
    assert find(index, query, 5, Where({"n": "4"})).total == 0
    moved = find(index, query, 5, Where({"n": "moved"})).keys
    assert [one.id for one in images.records(moved).values()] == [record.id]


def test_an_index_opened_anew_is_the_same(
    library: Library,
    images: Collection[ImageRecord],
    open_index: OpenIndex,
    query: np.ndarray,
    index: VectorIndex,
    image: Image,
) -> None:
    before = pairs(find(index, query, COUNT))
    index.close()
    library.add_images([numbered(image, n) for n in range(200, 210)])
    library.delete_images([record.id for record in library.list_images(limit=10).items])
    again = open_index(library._catalog, images)
    again.refresh()
    assert pairs(find(again, query, COUNT)) == before
    assert again.problems() == []
    again.close()


def test_new_vectors_for_all_are_a_new_generation(
    library: Library, index: VectorIndex, query: np.ndarray, other_space: Space, vector: Callable[[int], np.ndarray]
) -> None:
    width = other_space.dimension
    library.reindex(
        other_space,
        lambda contents: np.stack([vector(len(content))[:width] for content in contents]),
        lambda texts: np.ones((len(texts), width)),
    )
    index.refresh()
    with pytest.raises(GenerationChanged):
        find(index, query, 5)
    found = index.search(query[:width] / np.linalg.norm(query[:width]), 5, Where(), generation=2)
    assert (len(found.keys), found.total) == (5, COUNT)
    assert index.problems() == []


def test_it_is_built_anew_while_it_is_searched(
    index: VectorIndex,
    images: Collection[ImageRecord],
    library: Library,
    image: Image,
    query: np.ndarray,
    open_index: OpenIndex,
) -> None:
    told: list[tuple[int, int]] = []
    other = open_index(library._catalog, images)
    other.refresh()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        assert len(find(other, query, 5).keys) == 5

    library.delete_images([record.id for record in images.records(images.keys({"n": "1"})).values()])
    index.rebuild(Pace(None, progress))
    assert told[0] == (0, COUNT - 1)
    assert all(one <= another for one, another in pairwise(told))
    library.add_images([numbered(image, COUNT)])
    for one in (index, other):
        one.refresh()
        found = find(one, query, COUNT)
        assert pairs(found) == expected(images, query, [0, *range(2, COUNT + 1)])
        assert one.problems() == []
    other.close()


def test_an_empty_collection_has_nothing_near(
    library: Library, open_index: Callable[..., VectorIndex], query: np.ndarray
) -> None:
    empty = open_index(library._catalog, library._catalog.sentences)
    empty.refresh()
    found = find(empty, query, 5)
    assert (len(found.scores), len(found.keys), found.total) == (0, 0, 0)
    assert empty.stats().size == 0
    empty.close()


def test_searching_while_others_write(
    library: Library, index: VectorIndex, images: Collection[ImageRecord], image: Image, query: np.ndarray
) -> None:
    kept = set(images.keys({}).tolist())

    def churn(start: int) -> None:
        for n in range(start, start + 10):
            (added,) = library.add_images([numbered(image, n, vector=query)])
            library.delete_image(added.record.id)

    def look(_: int) -> None:
        for _ in range(10):
            index.refresh()
            found = find(index, query, 1000).keys.tolist()
            assert len(set(found)) == len(found)
            assert kept <= set(found)

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(churn, 3000), pool.submit(look, 0), pool.submit(churn, 4000), pool.submit(look, 1)]:
            one.result()
    index.refresh()
    assert set(find(index, query, 1000).keys.tolist()) == kept
