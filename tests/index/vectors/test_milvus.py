"""What only the index on Milvus has to do; the rest is in tests/index/contract/test_vectors.py."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pytest

from index import Library, LibraryConfig, NewSentence, Space, open_library
from index.errors import EngineAway, EngineUnsupported
from index.interfaces import Where
from index.pacing import Pace

Sentence = Callable[..., NewSentence]
COUNT = 100


def open_index(library: Library, url: str, push_at: int = 20) -> Any:
    from index.vectors.milvus import MilvusVectorIndex

    return MilvusVectorIndex(library._catalog, library._catalog.sentences, url, push_at)


def found(index: Any, library: Library, vector: np.ndarray, k: int = 1) -> list[str]:
    index.refresh()
    keys = index.search((vector / np.linalg.norm(vector)).astype(np.float32), k, Where(), generation=1).keys
    records = library._catalog.sentences.records(keys)
    return [records[key].text for key in keys.tolist()]


@pytest.fixture
def milvus(milvus_vectors: str) -> Iterator[Any]:
    """Milvus, as somebody else would look at it."""
    from pymilvus import MilvusClient

    client = MilvusClient("http://" + milvus_vectors.split("/")[2], timeout=10)
    yield client
    client.close()


def collections(milvus: Any, url: str) -> list[str]:
    name = url.rpartition("/")[2]
    return [one for one in milvus.list_collections() if one.startswith(name)]


@pytest.fixture
def filled(library: Library, sentence: Sentence) -> Library:
    library.add_sentences([sentence(n) for n in range(COUNT)])
    return library


def test_what_is_added_is_written_in_the_background(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray]
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index:
        assert found(index, filled, vector(7)) == ["sentence 7"]  # before Milvus has anything
        for _ in range(300):
            index.refresh()
            if index._view.written is not None and index._view.key == COUNT:
                break
            time.sleep(0.1)
        assert len(index._view.head) == 0
        [name] = collections(milvus, milvus_vectors)
        [row] = milvus.query(name, filter="key > -1", output_fields=["count(*)"], consistency_level="Strong")
        assert row["count(*)"] == COUNT
        assert found(index, filled, vector(7)) == ["sentence 7"]


def test_what_was_deleted_is_not_found_although_milvus_has_it(
    filled: Library, milvus_vectors: str, vector: Callable[[int], np.ndarray]
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index, closing(open_index(filled, milvus_vectors)) as other:
        index.push()
        assert found(other, filled, vector(7), 3)[0] == "sentence 7"
        record = next(one for one in filled.list_sentences(limit=COUNT).items if one.text == "sentence 7")
        filled.delete_sentence(record.id)
        for one in (index, other):
            assert "sentence 7" not in found(one, filled, vector(7), COUNT)
            assert len(found(one, filled, vector(7), COUNT)) == COUNT - 1


def test_a_collection_that_is_lost_is_built_anew(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray]
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index:
        index.push()
        assert found(index, filled, vector(7)) == ["sentence 7"]
        for name in collections(milvus, milvus_vectors):
            milvus.drop_collection(name)
        assert found(index, filled, vector(7)) == ["sentence 7"]  # no search fails for it
        index.push()
        assert found(index, filled, vector(8)) == ["sentence 8"]
        assert index.problems() == []
        assert len(collections(milvus, milvus_vectors)) == 1


def test_more_than_fits_into_memory_is_written_first_and_tells_how_far_it_is(
    filled: Library, milvus_vectors: str, vector: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.milvus.index._HELD", 30)
    with closing(open_index(filled, milvus_vectors)) as index:
        with pytest.raises(EngineAway, match="100 vectors are to come"):
            index.refresh()
        assert index.stats().waiting == index.lag() == COUNT
        deadline = time.monotonic() + 30
        while index.lag() >= 20:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            with suppress(EngineAway):
                index.refresh()
        assert found(index, filled, vector(7)) == ["sentence 7"]
        assert index.stats().waiting == 0


def test_filters_with_many_matches_are_pushed_down(
    library: Library,
    milvus_vectors: str,
    sentence: Sentence,
    vector: Callable[[int], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("index.vectors.milvus.index._SCANNED", 10)
    monkeypatch.setattr("index.vectors.milvus.index._LISTED", 20)
    added = library.add_sentences([sentence(n, metadata={"third": n % 3 == 0}) for n in range(COUNT)])
    with closing(open_index(library, milvus_vectors)) as index:
        index.push()
        index.refresh()
        asked: list[list[int]] = []
        nearest = index._milvus.nearest

        def listen(*arguments: Any, only: Any, **named: Any) -> Any:
            found = nearest(*arguments, only=only, **named)
            asked.append([] if only is None else only.tolist())
            assert only is None or set(found.tolist()) <= set(only.tolist()), "Milvus answers with what matches"
            return found

        monkeypatch.setattr(index._milvus, "nearest", listen)
        query = (vector(7) / np.linalg.norm(vector(7))).astype(np.float32)
        found = index.search(query, 5, Where({"third": "true"}), generation=1)
        matching = library._catalog.sentences.keys({"third": "true"})
        assert sorted(key for keys in asked[:2] for key in keys) == matching.tolist()
        assert [len(keys) for keys in asked[:2]] == [20, len(matching) - 20]
        near = sorted(range(0, COUNT, 3), key=lambda n: -float(query @ vector(n) / np.linalg.norm(vector(n))))[:5]
        records = library._catalog.sentences.records(found.keys)
        assert [records[key].id for key in found.keys.tolist()] == [added[n].record.id for n in near]
        assert found.total == len(matching)


def test_what_is_missing_in_milvus_is_told_and_does_not_stop_a_search(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray]
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index:
        index.push()
        [name] = collections(milvus, milvus_vectors)
        milvus.delete(name, ids=list(range(1, 11)))
        assert any("10 vectors are missing" in problem for problem in index.problems())
        assert len(found(index, filled, vector(7), COUNT)) == COUNT


def test_a_rebuild_replaces_whatever_milvus_has_at_the_rate_that_is_wanted(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray], sentence: Sentence
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index, closing(open_index(filled, milvus_vectors)) as other:
        index.push()
        [old] = collections(milvus, milvus_vectors)
        milvus.delete(old, ids=list(range(1, 51)))
        assert len(found(other, filled, vector(7))) == 1
        assert "visem reindex --vectors" in index.problems()[0]
        started = time.monotonic()
        index.rebuild(Pace(COUNT / 2.0, lambda done, total: None))
        assert time.monotonic() - started > 1.9
        [new] = collections(milvus, milvus_vectors)
        assert new != old
        assert index.problems() == []
        assert found(other, filled, vector(7)) == ["sentence 7"]
        for name in collections(milvus, milvus_vectors):
            milvus.drop_collection(name)
        index.rebuild(Pace(None, lambda done, total: None))
        assert index.problems() == []
        assert other.lag() <= COUNT
        assert found(other, filled, vector(8)) == ["sentence 8"]
    assert filled._catalog.leases.claim("vectors:sentences", "somebody else", 1)


def test_a_rebuild_waits_for_an_engine_that_is_away(
    filled: Library, milvus_vectors: str, vector: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.milvus.index._PAUSE", 0.01)
    with closing(open_index(filled, milvus_vectors)) as index:
        push, failures = index._pusher.push, [EngineAway("vectors", "too slow"), EngineAway("catalog", "restarted")]

        def push_later(since: Any) -> Any:
            if failures:
                raise failures.pop()
            return push(since)

        index._pusher.push = push_later
        index.rebuild(Pace(None, lambda done, total: None))
        assert failures == []
        assert found(index, filled, vector(7)) == ["sentence 7"]
        assert index.problems() == []
        monkeypatch.setattr("index.vectors.milvus.index._PATIENCE", 0.0)
        failures += [EngineAway("vectors", "gone"), EngineAway("vectors", "gone")]
        with pytest.raises(EngineAway):
            index.rebuild(Pace(None, lambda done, total: None))


def test_a_rebuild_keeps_up_what_is_searched_meanwhile_and_follows_new_vectors(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray], sentence: Sentence
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index:
        index.push()
        added: list[int] = []

        def progress(done: int, total: int) -> None:
            if done and not added:
                added.extend(range(COUNT, COUNT + 30))
                filled.add_sentences([sentence(n) for n in added])

        index.rebuild(Pace(None, progress))
        index.refresh()
        assert index.problems() == []
        assert found(index, filled, vector(COUNT + 3)) == [f"sentence {COUNT + 3}"]
        assert len(collections(milvus, milvus_vectors)) == 1


def test_two_that_write_at_once_do_no_harm(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from index.vectors.milvus.client import CollectionLostError

    def push(index: Any) -> None:
        for _ in range(5):
            try:
                index.push()
                return
            except CollectionLostError:  # the other one was ahead
                continue

    with closing(open_index(filled, milvus_vectors)) as one, closing(open_index(filled, milvus_vectors)) as two:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(push, (one, two)))
        for index in (one, two):
            assert found(index, filled, vector(7)) == ["sentence 7"]
            assert len(set(found(index, filled, vector(7), COUNT))) == COUNT
        assert one.problems() == two.problems() == []


def test_a_server_that_is_away(
    root: Any, space: Space, sentence: Sentence, vector: Callable[[int], np.ndarray]
) -> None:
    pytest.importorskip("pymilvus")
    config = LibraryConfig(root, vectors="milvus+http://user:secret@127.0.0.1:9/name")
    with open_library(config, space) as library:
        library.add_sentences([sentence(1)])  # the catalog has it
        assert library.get_sentence(library.list_sentences().items[0].id).text == "sentence 1"
        for _ in range(4):
            with pytest.raises(EngineAway) as caught:
                library.search(vector(1), 1, "sentences")
            assert "secret" not in str(caught.value)
            assert caught.value.part == "vectors"
    with open_library(LibraryConfig(root), space) as library:
        assert library.search(vector(1), 1, "sentences").items[0].record.text == "sentence 1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url", ["milvus+http://host/", "milvus+http:///name", "milvus+http://host/a/b", "milvus://h/n"]
)
def test_only_a_server_and_a_name_are_a_place(library: Library, url: str) -> None:
    pytest.importorskip("pymilvus")
    with pytest.raises(EngineUnsupported):
        open_index(library, url)


def test_nothing_of_it_is_imported_by_the_base_install() -> None:
    code = (
        "import sys, index, app.cli, app.main;"
        "sys.exit(bool({'pymilvus', 'grpc', 'boto3', 'botocore', 'pandas'} & set(sys.modules)))"
    )
    import sys

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_one_process_at_a_time_writes(
    filled: Library, milvus_vectors: str, milvus: Any, vector: Callable[[int], np.ndarray]
) -> None:
    with closing(open_index(filled, milvus_vectors)) as index:
        leases = filled._catalog.leases
        assert leases.claim("vectors:sentences", "another process", 60)
        index.refresh()
        index.push()
        assert collections(milvus, milvus_vectors) == []
        assert index.lag() == COUNT
        assert found(index, filled, vector(7)) == ["sentence 7"]
        leases.release("vectors:sentences", "another process")
        index.push()
        assert len(collections(milvus, milvus_vectors)) == 1
        assert index.lag() == 0
        assert leases.claim("vectors:sentences", "another process", 60)  # it was given back
        assert not index.engine().away
