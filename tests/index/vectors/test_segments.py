"""The files of the vector index are a cache: whatever happens to them, searches answer from the catalog."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index import Library, LibraryConfig, NewSentence, Space, open_library
from index.building import BuildRequest, work
from index.catalog import default_url, open_catalog
from index.vectors.faiss.building import Builder, untidy
from index.vectors.faiss.codec import Encoded, joined, train, training_size
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.index import FaissVectorIndex
from index.vectors.faiss.manifest import Manifest, Probing, SegmentEntry
from index.vectors.faiss.options import BuildOptions
from index.vectors.faiss.segments import Segment, Segments
from index.vectors.faiss.selection import Selection
from index.vectors.faiss.tuning import ExactAnswers, choose_probing
from tests.index.vectors.made_up import clouds

Sentence = Callable[..., NewSentence]

EXACT_UP_TO = 100


@pytest.fixture
def sealed(root: Path, space: Space, sentence: Sentence, copy_of: Callable[..., None]) -> Path:
    """The folder of the index of a closed library of three hundred sentences."""

    def fill(library: Library) -> None:
        library.add_sentences([sentence(n) for n in range(300)])

    copy_of("three hundred sentences", fill, root)
    build(root)
    assert (root / "index/sentences/manifest.json").exists()
    return root / "index/sentences"


def build(root: Path) -> None:
    options = BuildOptions(EXACT_UP_TO, EXACT_UP_TO)
    with (
        closing(open_catalog(default_url(root), None, lambda: False)) as catalog,
        closing(Builder(catalog, catalog.sentences, root / "index/sentences", options)) as builder,
    ):
        builder.run()


@pytest.fixture
def open_it(root: Path, space: Space) -> Iterator[Callable[[], Library]]:
    opened: list[Library] = []

    def open_one() -> Library:
        opened.append(open_library(LibraryConfig(root, exact_up_to=EXACT_UP_TO), space))
        return opened[-1]

    yield open_one
    for library in opened:
        library.close()


def texts(library: Library, query: np.ndarray, k: int = 1000) -> list[str]:
    return [hit.record.text for hit in library.search(query, k, "sentences").items]  # type: ignore[union-attr]


def manifest(folder: Path) -> Manifest:
    found = IndexFolder(folder).manifest()
    assert found is not None
    return found


def test_segments_are_used_and_what_is_new_is_found_beside_them(
    sealed: Path, open_it: Callable[[], Library], sentence: Sentence
) -> None:
    library = open_it()
    stats = library.stats().sentence_index
    assert (stats.kind, stats.size, stats.recall) == ("ivf", 300, None)
    library.add_sentences([sentence(1000)])
    assert texts(library, sentence(1000).vector, 1) == ["sentence 1000"]
    assert texts(library, sentence(250).vector, 1) == ["sentence 250"]
    assert len(texts(library, sentence(250).vector)) == 301
    assert library.check() == []


def with_other_codes(encoded: Encoded) -> Encoded:
    codes = encoded.codes.copy()
    codes[5] = ~codes[5]
    return replace(encoded, codes=codes)


def with_other_rows(encoded: Encoded) -> Encoded:
    rows = encoded.rows.copy()
    rows[5] = -rows[5]
    return replace(encoded, rows=rows)


@pytest.mark.parametrize("spoilt", [with_other_codes, with_other_rows])
def test_a_segment_that_lies_is_found_out(
    spoilt: Callable[[Encoded], Encoded], sealed: Path, open_it: Callable[[], Library]
) -> None:
    folder, before = IndexFolder(sealed), manifest(sealed)
    codec = folder.read_codec(before)
    assert codec is not None
    (entry,) = before.segments
    encoded = folder.read_segment(entry, codec.lists)
    assert encoded is not None
    lying = folder.write_segment(spoilt(encoded))
    folder.commit(before.model_copy(update={"segments": (lying,)}))
    assert open_it().check() == ["sentences: the vector index has other vectors than the catalog"]


def test_an_index_of_a_version_without_rows_is_searched_and_renewed(
    sealed: Path, root: Path, open_it: Callable[[], Library], sentence: Sentence
) -> None:
    folder, before = IndexFolder(sealed), manifest(sealed)
    codec = folder.read_codec(before)
    assert codec is not None
    encoded = folder.read_segment(before.segments[0], codec.lists)
    assert encoded is not None
    plain = folder.write_segment(replace(encoded, rows=encoded.rows[:, :0]))
    folder.commit(before.model_copy(update={"segments": (plain,)}))
    old = json.loads((sealed / "manifest.json").read_text())
    del old["probing"]["scored"], old["segments"][0]["row_size"]
    (sealed / "manifest.json").write_text(json.dumps(old))
    library = open_it()
    assert texts(library, sentence(250).vector, 1) == ["sentence 250"]
    assert len(texts(library, sentence(250).vector)) == 300
    assert library.check() == []
    build(root)
    renewed = manifest(sealed)
    assert renewed.probing.scored is not None
    assert renewed.segments[0].row_size == encoded.rows.shape[1]
    assert texts(library, sentence(250).vector, 1) == ["sentence 250"]


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def first(folder: Path, pattern: str) -> Path:
    return next(iter(folder.glob(pattern)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_bytes(b""),
        lambda folder: (folder / "manifest.json").write_bytes(b"{}"),
        lambda folder: first(folder, "*.segment").unlink(),
        lambda folder: first(folder, "*.segment").write_bytes(b""),
        lambda folder: first(folder, "*.segment").write_bytes(b"x" * first(folder, "*.segment").stat().st_size),
        lambda folder: first(folder, "*.codec").write_bytes(b"not a codec"),
        lambda folder: first(folder, "*.codec").unlink(),
        lambda folder: change_manifest(folder, generation=7),
        lambda folder: change_manifest(folder, library_id="0" * 32),
        lambda folder: change_manifest(folder, key=299),
        lambda folder: change_manifest(folder, deletion=1),
        lambda folder: change_manifest(folder, key="300"),
        lambda folder: shutil.rmtree(folder),
        lambda folder: shutil.rmtree(folder.parent),
    ],
)
def test_a_damaged_index_is_not_used_and_built_anew(
    sealed: Path, root: Path, open_it: Callable[[], Library], sentence: Sentence, damage: Callable[[Path], object]
) -> None:
    before = (sealed / "manifest.json").read_bytes()
    damage(sealed)
    library = open_it()
    assert len(texts(library, sentence(3).vector)) == 300
    assert texts(library, sentence(3).vector, 1) == ["sentence 3"]
    assert library.check() == []
    library.close()
    build(root)
    assert (sealed / "manifest.json").read_bytes() != before
    library = open_it()
    assert library.stats().sentence_index.kind == "ivf"
    assert library.check() == []


def test_the_index_of_a_catalog_that_went_its_own_way_is_not_used(
    sealed: Path, root: Path, open_it: Callable[[], Library], sentence: Sentence
) -> None:
    """A restored backup: the same library and keys, but other records under them, and others deleted."""
    backup = (root / "catalog.sqlite").read_bytes()
    library = open_it()
    records = library.list_sentences(limit=200).items
    library.delete_sentences([record.id for record in records[:120]])
    library.add_sentences([sentence(n) for n in range(1000, 1150)])
    library.close()
    build(root)
    (root / "catalog.sqlite").write_bytes(backup)
    library = open_it()
    library.delete_sentences([record.id for record in records[60:180]])
    library.add_sentences([sentence(n) for n in range(2000, 2150)])
    assert library.stats().sentence_index.kind == "exact"
    assert len(texts(library, sentence(2000).vector)) == 330
    assert library.check() == []


def test_the_index_of_vectors_before_a_reindex_is_not_used(
    sealed: Path, root: Path, space: Space, open_it: Callable[[], Library], sentence: Sentence
) -> None:
    before = root / "before"
    shutil.copytree(sealed, before)
    library = open_it()
    turned = {f"sentence {n}": -sentence(n).vector for n in range(300)}
    library.reindex(space, lambda contents: np.empty((0, 32)), lambda texts: np.stack([turned[text] for text in texts]))
    assert texts(library, -sentence(3).vector, 1) == ["sentence 3"]
    library.close()
    shutil.rmtree(sealed)
    shutil.copytree(before, sealed)
    library = open_it()
    assert texts(library, -sentence(3).vector, 1) == ["sentence 3"]
    assert library.check() == []


def test_a_library_that_grows_is_built_by_a_process_of_its_own(
    root: Path, space: Space, sentence: Sentence, open_it: Callable[[], Library]
) -> None:
    library = open_it()
    library.add_sentences([sentence(n) for n in range(150)])
    deadline = time.monotonic() + 120
    while library.stats().sentence_index.kind == "exact" and time.monotonic() < deadline:
        texts(library, sentence(1).vector, 1)
        time.sleep(0.2)
    stats = library.stats().sentence_index
    assert (stats.kind, stats.size) == ("ivf", 150)
    assert sorted(texts(library, sentence(1).vector)) == sorted(f"sentence {n}" for n in range(150))
    assert library.check() == []


def test_segments_of_vectors_before_a_reindex_are_void(
    sealed: Path, tmp_path: Path, open_it: Callable[[], Library], space: Space, sentence: Sentence
) -> None:
    old = tmp_path / "old"
    shutil.copytree(sealed, old)
    turned = {sentence(n).text: sentence(n).vector[::-1] for n in range(300)}
    library = open_it()
    library.reindex(
        space, lambda contents: np.empty((0, space.dimension)), lambda texts: np.stack([turned[text] for text in texts])
    )
    library.close()
    shutil.copytree(old, sealed, dirs_exist_ok=True)
    again = open_it()
    seventh = sentence(7)
    assert texts(again, turned[seventh.text], 1) == [seventh.text]
    assert again.search(turned[seventh.text], 1, "sentences").items[0].score > 0.99
    assert again.check() == []


def test_one_that_shrinks_is_exact_again(sealed: Path, root: Path, open_it: Callable[[], Library]) -> None:
    library = open_it()
    library.delete_sentences([record.id for record in library.list_sentences(limit=200).items])
    library.delete_sentences([record.id for record in library.list_sentences(limit=60).items])
    library.close()
    build(root)
    library = open_it()
    assert (library.stats().sentence_index.kind, library.stats().sentence_index.recall) == ("exact", 1.0)
    assert not list(sealed.glob("*.segment"))


def test_only_one_builds_at_a_time(sealed: Path) -> None:
    with IndexFolder(sealed).lock() as mine, IndexFolder(sealed).lock() as theirs:
        assert (mine, theirs) == (True, False)
    with IndexFolder(sealed).lock() as again:
        assert again


def test_what_is_sealed_while_the_codec_is_trained_anew_does_not_cost_the_training(
    sealed: Path, root: Path, space: Space, sentence: Sentence
) -> None:
    def add(start: int, stop: int) -> None:
        with open_library(LibraryConfig(root, exact_up_to=10_000), space) as library:
            library.add_sentences([sentence(n) for n in range(start, stop)])

    before = manifest(sealed)
    change_manifest(sealed, trained_on=before.count // 9)  # it has outgrown its codec
    options = BuildOptions(EXACT_UP_TO, EXACT_UP_TO)
    with (
        closing(open_catalog(default_url(root), None, lambda: False)) as catalog,
        closing(Builder(catalog, catalog.sentences, sealed, options)) as builder,
    ):
        builder.step()
        assert builder.is_training
        training = builder._training
        assert training is not None
        training.result()
        add(1000, 1100)
        assert builder.step()  # sealed with the old codec, and what no manifest names is swept
        assert manifest(sealed).codec == before.codec
        assert len(manifest(sealed).segments) == 2
        assert builder.step()  # adopted, not trained anew
        assert not builder.is_training
        after = manifest(sealed)
        assert (after.trained_on, after.count) == (300, 400)
        assert not builder.step()
    with open_library(LibraryConfig(root, exact_up_to=EXACT_UP_TO), space) as library:
        assert library.check() == []
        assert texts(library, sentence(1050).vector, 1) == ["sentence 1050"]


def test_many_small_segments_become_few(sealed: Path, root: Path, space: Space, sentence: Sentence) -> None:
    for start in range(1000, 2500, 125):
        with open_library(LibraryConfig(root, exact_up_to=10_000), space) as library:
            library.add_sentences([sentence(n) for n in range(start, start + 125)])
        build(root)
    found = manifest(sealed)
    assert found.count == 1800
    assert 1 < len(found.segments) <= 8
    assert len(list(sealed.glob("*.segment"))) == len(found.segments)
    with open_library(LibraryConfig(root), space) as library:
        assert library.check() == []
        assert texts(library, sentence(2100).vector, 1) == ["sentence 2100"]


def with_segments(root: Path, space: Space, sentence: Sentence, sizes: Sequence[int]) -> None:
    first = 1000
    for size in sizes:
        with open_library(LibraryConfig(root, exact_up_to=10_000), space) as library:
            library.add_sentences([sentence(n) for n in range(first, first + size)])
        first += size
        build(root)


@pytest.mark.parametrize(
    ("added", "left"),
    [((), [300]), ((100,), [400]), ((100, 100), [500]), ((100,) * 5, [800]), ((700, 100), [1100])],
)
def test_when_nothing_else_is_due_small_segments_are_merged(
    sealed: Path, root: Path, space: Space, sentence: Sentence, added: Sequence[int], left: list[int]
) -> None:
    with_segments(root, space, sentence, added)
    work(BuildRequest(default_url(root).render_as_string(), root / "index", BuildOptions(EXACT_UP_TO, EXACT_UP_TO)), 0)
    assert [entry.count for entry in manifest(sealed).segments] == left
    with open_library(LibraryConfig(root), space) as library:
        assert library.check() == []
        assert texts(library, sentence(250).vector, 1) == ["sentence 250"]


def test_a_segment_much_larger_than_the_others_is_left_alone() -> None:
    def entries(*sizes: int) -> tuple[SegmentEntry, ...]:
        return tuple(SegmentEntry(file=str(size), sha256="", count=size, code_size=1) for size in sizes)

    assert untidy(entries(840, 58, 44, 43, 33, 28)) == entries(28, 33, 43, 44, 58)
    assert untidy(entries(800, 58, 44, 43, 33, 28)) == entries(28, 33, 43, 44, 58, 800)
    assert untidy(entries(840, 206)) == ()
    assert untidy(entries(840)) == ()


def test_an_index_in_many_segments_is_seen_to_while_it_is_searched(
    sealed: Path, root: Path, space: Space, sentence: Sentence, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked:
        times = 0

        def wake(self) -> None:
            self.times += 1

        def close(self) -> None:
            pass

    with_segments(root, space, sentence, [100])
    asked = Asked()
    with closing(open_catalog(default_url(root), None, lambda: False)) as catalog:
        options = BuildOptions(EXACT_UP_TO, EXACT_UP_TO)
        index = FaissVectorIndex(catalog, catalog.sentences, sealed, options, asked)
        index.refresh()  # a command that searches once and ends has nobody woken
        index.refresh()
        assert asked.times == 0
        monkeypatch.setattr("index.vectors.faiss.index._LOOK_EVERY", 0.0)
        for _ in range(3):
            index.refresh()
            assert index._helper is not None
            index._helper.join()
        assert asked.times == 1
        index.close()


def test_pages_down_to_the_last_record_lose_nearly_none(root: Path) -> None:
    """Later pages search more widely. What only they see, and would stand on a page before, is lost."""
    count = 4000
    vectors = clouds(count, 0, noise=2.0)
    space = Space(id="c" * 64, name="clouds", dimension=64)
    with open_library(LibraryConfig(root, exact_up_to=EXACT_UP_TO), space) as library:
        library.add_sentences([NewSentence(f"sentence {n}", vector) for n, vector in enumerate(vectors)])
    build(root)
    with open_library(LibraryConfig(root, exact_up_to=EXACT_UP_TO), space) as library:
        library.search(vectors[0], 1, "sentences")
        assert library.stats().sentence_index.kind == "ivf"
        for query in clouds(3, 3, noise=4.0):
            page, found = library.search(query, 50, "sentences"), []
            while True:
                found += [hit.record.id for hit in page.items]
                if page.next_cursor is None:
                    break
                page = library.search(query, 50, "sentences", cursor=page.next_cursor)
            assert len(found) == len(set(found))
            assert len(found) >= 0.995 * count


def a_manifest(probing: Probing) -> Manifest:
    about = {"library_id": "", "target": "images", "generation": 1, "dimension": 64, "key": 0, "deletion": 0}
    files = {"anchor": "", "codec": "", "codec_sha256": "", "trained_on": 0, "segments": ()}
    return Manifest.model_validate({**about, **files, "probing": probing})


def test_the_recall_that_is_told_is_that_of_other_queries(space: Space) -> None:
    vectors, keys = clouds(6000, 0), np.arange(6000) + 5
    queries = clouds(120, 2, noise=2.0)
    codec = train(vectors[: training_size(6000)], queries[:60], 6000)
    encoded = joined([codec.encode(keys[:2500], vectors[:2500]), codec.encode(keys[2500:], vectors[2500:])])
    answers = ExactAnswers(queries[:60])
    for at in range(0, 6000, 1000):
        answers.see(keys[at : at + 1000], vectors[at : at + 1000])
    truth = np.argsort(-(queries[:60] @ vectors.T), axis=1)[:, :10] + 5
    assert (np.sort(answers.keys) == np.sort(truth)).mean() > 0.99  # ties in float32 aside
    probing = choose_probing(codec, encoded, answers)
    assert probing.recall is not None
    assert 0.985 <= probing.recall <= 1
    assert probing.candidates < 6000
    assert probing.scored is not None
    assert probing.scored < probing.candidates
    segments = Segments(a_manifest(probing), codec, {"one": Segment(encoded, codec.scannable(encoded))})
    found = [
        segments.candidates(query, probing.candidates, probing.scored, probing.lists, None)[0] for query in queries[60:]
    ]
    assert {len(keys) for keys in found} == {probing.scored}
    others = np.argsort(-(queries[60:] @ vectors.T), axis=1)[:, :10] + 5
    assert np.mean([np.isin(true, row).mean() for true, row in zip(others, found, strict=True)]) > 0.95


def test_a_selection_counts_what_matches_among_other_keys() -> None:
    selection = Selection(np.array([2, 3, 5, 8], dtype=np.int64))
    assert selection.count(np.array([1, 3, 4, 8, 9], dtype=np.int64)) == 2
    assert selection.count(np.empty(0, dtype=np.int64)) == 0
    assert Selection(np.empty(0, dtype=np.int64)).count(np.array([1, 2], dtype=np.int64)) == 0
