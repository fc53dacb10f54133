"""What is not sealed in segments yet, in memory: single precision, or bytes in a service."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from index import Library, NewSentence
from index.vectors.faiss.byte_block import ByteBlock
from index.vectors.faiss.selection import Selection, Selector
from index.vectors.head import Head
from tests.index.vectors.made_up import clouds, unit

Sentence = Callable[..., NewSentence]


def test_the_head_gives_all_that_may_be_among_the_nearest() -> None:
    vectors = clouds(500, 3)
    halves = vectors.astype(np.float16)
    head = Head().with_more(np.arange(500), halves)
    whole = head.with_more(np.arange(600, 660), np.repeat(halves[:1], 60, axis=0))  # ties
    assert {0, *range(600, 660)} <= set(whole.all_nearest(vectors[0], 3).tolist())
    head = whole.without(np.array([600, 601, 9999]))
    assert (len(head), len(whole)) == (558, 560)
    some = np.array([7, 499, 602])
    assert head.agrees(some, np.stack([halves[7], halves[499], halves[0]]))
    assert not head.agrees(some, np.stack([halves[7], halves[0], halves[0]]))
    odd = Selection(np.arange(1, 660, 2))
    found = head.all_nearest(vectors[0], 5, Selector(660, odd, np.array([603])).choice)
    assert set(found.tolist()) >= set(range(605, 660, 2))
    assert all(key % 2 for key in found.tolist())
    assert 603 not in found
    rest = head.after(499)
    assert rest.keys().tolist() == list(range(602, 660))
    assert (
        head.all_nearest(
            vectors[0], 5, Selector(660, Selection(np.empty(0, dtype=np.int64)), np.empty(0, int)).choice
        ).tolist()
        == []
    )


def test_the_head_keeps_its_vectors_however_they_come_and_go() -> None:
    random = np.random.default_rng(4)
    vectors = clouds(6000, 4)
    halves = vectors.astype(np.float16)
    head, there, start = Head(), np.empty(0, dtype=np.int64), 0
    while start < 6000:
        keys = np.arange(start, min(6000, start + int(random.choice([1, 3, 40, 2500]))))
        start = int(keys[-1]) + 1
        gone = random.choice(there, size=min(len(there), 5), replace=False)
        head = head.without(gone).with_more(keys, halves[keys])
        there = np.concatenate([np.setdiff1d(there, gone), keys])
        assert np.array_equal(head.keys(), there)
    assert head.agrees(there, halves[there])
    near = there[np.argsort(-(vectors[there] @ vectors[7]))[:10]]
    assert set(near.tolist()) <= set(head.all_nearest(vectors[7], 10).tolist())


def test_a_head_of_bytes_finds_what_one_of_single_precision_finds() -> None:
    vectors = clouds(6000, 4)
    halves = vectors.astype(np.float16)
    keys = np.arange(100, 6100)
    plain, head = Head(), Head(ByteBlock.of)
    for start in range(0, 6000, 300):
        part = slice(start, start + 300)
        plain, head = (one.with_more(keys[part], halves[part]) for one in (plain, head))
    gone = keys[::7]
    plain, head = plain.without(gone), head.without(gone)
    assert np.array_equal(head.keys(), plain.keys())
    there = head.keys()
    assert head.agrees(there, halves[there - 100])
    assert not head.agrees(there, -halves[there - 100])
    odd = Selector(6100, Selection(keys[keys % 2 == 1]), np.array([105])).choice
    assert odd is not None
    shares = []
    for query in unit(40, 64, 9):
        for choose in (None, odd):
            found = head.nearest(query, 15, choose)
            assert len(found) == len(np.unique(found)) == 15
            assert choose is None or choose(found).all()
            shares.append(np.isin(plain.nearest(query, 10, choose), found).mean())
    assert np.mean(shares) > 0.99
    few = head.nearest(unit(1, 64, 2)[0], 15, lambda keys: keys < 103)
    assert sorted(few.tolist()) == [101, 102]


def test_a_head_may_hold_blocks_of_both_kinds() -> None:
    vectors = clouds(900, 5)
    vectors[500:, 3] = 1  # the bytes of these mean something else
    halves = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    before = Head().with_more(np.arange(300), halves[:300])
    head = before.making(ByteBlock.of).with_more(np.arange(300, 500), halves[300:500])
    head = head.with_more(np.arange(500, 900), halves[500:])
    assert head.agrees(np.arange(900), halves)
    for place in (7, 350, 600):
        assert place in head.nearest(halves[place].astype(np.float32), 20)
    assert len(Head(ByteBlock.of).nearest(halves[0].astype(np.float32), 5)) == 0


def test_bytes_give_all_that_may_be_among_the_nearest() -> None:
    vectors = clouds(9000, 6)
    halves = vectors.astype(np.float16)
    halves[4000:4700] = halves[17]  # more ties than anybody asks for at first
    head = Head(ByteBlock.of).with_more(np.arange(9000), halves)
    exact = halves.astype(np.float32)
    for query in (exact[17], *unit(60, 64, 3)):
        true = np.argsort(-(exact @ query), kind="stable")[:10]
        found = head.all_nearest(query, 10)
        assert set(true.tolist()) <= set(found.tolist())
    assert {17, *range(4000, 4700)} <= set(head.all_nearest(exact[17], 3).tolist())
    assert len(head.all_nearest(unit(1, 64, 3)[0], 10)) < 500  # and not many more


def test_the_vectors_of_a_service_become_bytes_and_are_found_as_before(library: Library, sentence: Sentence) -> None:
    library.add_sentences([sentence(n) for n in range(1200)])
    queries = [sentence(n).vector for n in range(5000, 5020)]

    def found() -> list[list[tuple[str, float]]]:
        return [
            [(hit.record.id, hit.score) for hit in library.search(query, 20, "sentences").items] for query in queries
        ]

    before = found()
    index = library._indexes["sentences"]._opened
    library.follow()
    assert {type(block) for block in index._head._blocks} == {ByteBlock}
    assert found() == before
    gone, _ = before[0][0]
    library.delete_sentences([gone])
    (added,) = library.add_sentences([sentence(5000)])
    assert [record for record, _ in found()[0]][:2] == [added.record.id, before[0][1][0]]
    assert library.check() == []


def test_a_filtered_search_of_a_head_is_exact(library: Library, sentence: Sentence) -> None:
    library.add_sentences([sentence(n, metadata={"third": str(n % 3)}) for n in range(1200)])
    queries = [sentence(n).vector for n in range(5000, 5010)]
    keys = {f"sentence {n}" for n in range(0, 1200, 3)}
    for _ in range(2):
        for query in queries:
            page = library.search(query, 12, "sentences", filters={"third": "0"})
            everything = library.search(query, 1200, "sentences").items
            assert page.items == [hit for hit in everything if hit.record.text in keys][:12]
            assert page.total == 400
        library.follow()  # bytes from now on
