"""What every catalog remembers of folders in place; see `index.interfaces.SourceStore`."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import index
from index import FileInPlace, NewCaption, NewImage, RefusedFile, Signature, Source, Space
from index.drafts import caption_draft, image_drafts
from index.interfaces import Catalog
from index.types import Added, ImageRecord

OpenCatalog = Callable[..., Catalog]
Place = Callable[..., Added[ImageRecord]]

ODD = os.fsdecode(b"2024/caf\xe9 \n.jpg")
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def looks(number: int) -> Signature:
    return Signature(size=number, mtime_ns=1_700_000_000_123_456_789 + number, inode=-number)


@pytest.fixture
def source(catalog: Catalog) -> Source:
    return catalog.sources.register("/photos")


@pytest.fixture
def place(catalog: Catalog, source: Source, image: Callable[..., NewImage], space: Space) -> Place:
    """Add the image of a number in place, at a path; without a path, a copy of it."""

    def add(number: int, path: str | None, source_id: str = source.id, captions: int = 0) -> Added[ImageRecord]:
        file = None if path is None else FileInPlace(source_id, path, looks(number))
        (draft,) = image_drafts([image(number, file=file, captions=captions)], space.dimension)
        return catalog.images.add([draft], space, lambda names: None)[0]

    return add


def states(catalog: Catalog, source: Source) -> dict[str, str]:
    return {path: known.state for path, known in catalog.sources.known(source.id).items()}


def found(catalog: Catalog) -> set[str]:
    """The ids of all images that lists have, after a look at whether lists, counts and keys agree."""
    records = catalog.images.page(None, 1000, {})
    assert [spot.key for spot, _ in records][::-1] == catalog.images.keys({}).tolist()
    assert len(records) == catalog.images.count({})
    assert catalog.problems() == []
    return {record.id for _, record in records}


def test_a_source_is_its_path(catalog: Catalog, other: Catalog) -> None:
    one = catalog.sources.register("/photos")
    odd = other.sources.register(os.fsdecode(b"/caf\xe9"))
    assert other.sources.register("/photos") == one == catalog.sources.get(one.id)
    assert catalog.sources.all() == [one, odd]
    assert (one.state, one.paused, one.finished_at, one.reason) == ("new", False, None, None)
    assert other.sources.pause(one.id, True).paused
    other.sources.note(one.id, "away", "gone", None)
    now = catalog.sources.get(one.id)
    assert (now.paused, now.state, now.reason, now.finished_at) == (True, "away", "gone", None)
    catalog.sources.note(one.id, "ready", None, ["disk"])
    now = other.sources.get(one.id)
    assert (now.state, now.reason, now.mounts) == ("ready", None, ("disk",))
    assert now.finished_at is not None
    assert abs(now.finished_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_sources_that_are_not_there(catalog: Catalog, place: Place) -> None:
    calls: list[Callable[[], object]] = [
        lambda: catalog.sources.get("x"),
        lambda: catalog.sources.pause("x", True),
        lambda: catalog.sources.note("x", "ready", None, []),
        lambda: catalog.sources.known("x"),
        lambda: catalog.sources.counts("x"),
        lambda: catalog.sources.files("x", "present", None, 1),
        lambda: catalog.sources.settle("x", []),
        lambda: catalog.sources.prune("x", LATER),
        lambda: catalog.sources.forget("x"),
        lambda: place(1, "1.jpg", "x"),
    ]
    for call in calls:
        with pytest.raises(index.SourceNotFound):
            call()
    assert found(catalog) == set()


def test_what_is_remembered_of_files(catalog: Catalog, other: Catalog, source: Source, place: Place) -> None:
    one = place(1, ODD).record
    catalog.sources.refuse(
        source.id,
        [
            RefusedFile("bad.jpg", looks(2), "image_unreadable", "No picture."),
            RefusedFile("x", looks(3), None, None, True),
        ],
    )
    known = other.sources.known(source.id)
    assert {path: (file.state, file.code) for path, file in known.items()} == {
        ODD: ("present", None),
        "bad.jpg": ("refused", "image_unreadable"),
        "x": ("skipped", None),
    }
    assert known[ODD].signature == looks(1)
    assert other.sources.counts(source.id) == {"present": 1, "refused": 1, "skipped": 1}
    (refused,) = other.sources.files(source.id, "refused", None, 10)
    assert (refused.path, refused.code, refused.reason, refused.image_id) == (
        "bad.jpg", "image_unreadable", "No picture.", None,
    )  # fmt: skip
    assert [file.path for file in other.sources.of([one.id, "nowhere"])[one.id]] == [ODD]
    (location,) = other.sources.locate(one.sha256)
    assert (location.root, location.path, location.signature) == ("/photos", ODD, looks(1))
    assert other.sources.locate("0" * 64) == []


def test_files_come_in_pages(catalog: Catalog, source: Source, place: Place) -> None:
    for number in range(5):
        place(number + 1, f"{number}.jpg")
    first = catalog.sources.files(source.id, "present", None, 3)
    rest = catalog.sources.files(source.id, "present", first[-1].path, 3)
    assert [file.path for file in first + rest] == [f"{number}.jpg" for number in range(5)]


def test_equal_files_are_one_image_with_several_paths(catalog: Catalog, source: Source, place: Place) -> None:
    second = catalog.sources.register("/more")
    one = place(1, "a.jpg")
    assert one.created
    again = [place(1, "b.jpg"), place(1, "a.jpg", second.id)]
    assert [(added.record.id, added.created, added.changed) for added in again] == [(one.record.id, False, False)] * 2
    assert {(file.source_id, file.path) for file in catalog.sources.of([one.record.id])[one.record.id]} == {
        (source.id, "a.jpg"), (source.id, "b.jpg"), (second.id, "a.jpg"),
    }  # fmt: skip
    assert catalog.sources.settle(source.id, ["a.jpg", "b.jpg"]) == 0
    assert found(catalog) == {one.record.id}
    assert states(catalog, source) == {}
    assert catalog.sources.settle(second.id, ["a.jpg"]) == 1
    assert found(catalog) == set()


def test_a_missing_image_is_hidden_until_it_is_back(
    catalog: Catalog, other: Catalog, source: Source, place: Place
) -> None:
    one, two = place(1, "1.jpg").record, place(2, "2.jpg").record
    key = catalog.images.keys_of([one.id]).tolist()
    assert catalog.sources.settle(source.id, ["1.jpg"]) == 1
    assert found(other) == {two.id}
    assert other.images.hidden().tolist() == key
    assert (other.images.count({"number": "1"}), other.images.keys({"number": "1"}).tolist()) == (0, [])
    assert states(other, source) == {"1.jpg": "missing", "2.jpg": "present"}
    assert other.images.get(one.id) == one
    assert other.sources.locate(one.sha256) == []
    assert other.sources.of([one.id])[one.id][0].missing_since is not None
    other.sources.seen(source.id, [("1.jpg", looks(5))])
    assert found(catalog) == {one.id, two.id}
    assert catalog.images.hidden().tolist() == []
    assert catalog.sources.known(source.id)["1.jpg"] == (looks(5), "present", None)


def test_a_moved_file_keeps_its_image(catalog: Catalog, source: Source, place: Place) -> None:
    one = place(1, "old.jpg").record
    files = [
        (FileInPlace(source.id, "new.jpg", looks(9)), one.sha256),
        (FileInPlace(source.id, "x", looks(2)), "f" * 64),
    ]
    assert catalog.sources.attach(files) == [one, "unknown"]
    assert catalog.sources.settle(source.id, ["old.jpg"]) == 0
    assert states(catalog, source) == {"new.jpg": "present"}
    catalog.sources.settle(source.id, ["new.jpg"])  # it goes, and comes back elsewhere much later
    assert found(catalog) == set()
    assert catalog.sources.attach([(FileInPlace(source.id, "third.jpg", looks(9)), one.sha256)]) == [one]
    assert found(catalog) == {one.id}


def test_a_changed_file_keeps_its_image_with_another_content(
    catalog: Catalog, source: Source, place: Place, space: Space, vector: Callable[[int], object]
) -> None:
    one = place(1, "1.jpg", captions=2).record
    drafts = {
        origin: [caption_draft(NewCaption(origin, vector(3)), origin, space.dimension)]  # type: ignore[arg-type]
        for origin in ("captioner", "user")
    }
    catalog.captions.add(one.id, drafts["captioner"], space)
    catalog.captions.set(one.id, drafts["user"], space)
    catalog.images.update(one.id, lambda record: {"mine": 1})
    before = catalog.images.head()
    changed = place(2, "1.jpg", captions=1)
    assert (changed.created, changed.changed, changed.record.id) == (False, True, one.id)
    assert changed.record.sha256 != one.sha256
    assert (changed.record.metadata, changed.record.created_at) == ({"mine": 1}, one.created_at)
    assert [caption.origin for caption in catalog.captions.of(one.id)] == ["user"]
    assert catalog.captions.owed() == 1
    after = catalog.images.head()
    assert after.key > before.key  # followers are told to drop the old vector, and of the new one
    assert after.deletion > before.deletion
    assert catalog.images.vectors([one.id], space).tolist() != []
    assert found(catalog) == {one.id}
    assert (catalog.images.count({"mine": "1"}), catalog.images.count({"number": "2"})) == (1, 0)
    assert states(catalog, source) == {"1.jpg": "present"}


def test_a_changed_file_leaves_an_image_alone_that_is_elsewhere(catalog: Catalog, source: Source, place: Place) -> None:
    one = place(1, "a.jpg").record
    place(1, "b.jpg")
    new = place(2, "a.jpg")
    assert new.created
    assert found(catalog) == {one.id, new.record.id}
    copied = place(3, None).record
    place(3, "c.jpg")
    instead = place(4, "c.jpg")
    assert instead.created
    assert found(catalog) == {one.id, new.record.id, copied.id, instead.record.id}


def test_a_file_that_takes_the_content_of_another_hides_what_it_was(
    catalog: Catalog, source: Source, place: Place
) -> None:
    one, two = place(1, "1.jpg").record, place(2, "2.jpg").record
    assert place(2, "1.jpg").record == two
    assert found(catalog) == {two.id}
    place(1, "2.jpg")  # they were exchanged
    assert found(catalog) == {one.id, two.id}
    catalog.sources.refuse(source.id, [RefusedFile("1.jpg", looks(7), "image_unreadable", "damaged")])
    assert found(catalog) == {one.id}


def test_with_a_copy_an_image_never_goes_missing(catalog: Catalog, source: Source, place: Place) -> None:
    one = place(1, None).record
    assert place(1, "1.jpg").record == one
    two = place(2, "2.jpg").record
    assert place(2, None).record == two
    assert catalog.sources.settle(source.id, ["1.jpg", "2.jpg"]) == 0
    assert found(catalog) == {one.id, two.id}
    assert catalog.content_size() == one.size + two.size
    assert states(catalog, source) == {}
    three = place(3, "3.jpg").record
    assert catalog.content_size() == one.size + two.size
    catalog.sources.settle(source.id, ["3.jpg"])
    place(3, None)  # somebody uploads what was missing
    assert found(catalog) == {one.id, two.id, three.id}


def test_what_somebody_deletes_is_not_added_again(catalog: Catalog, source: Source, place: Place) -> None:
    one, two = place(1, "1.jpg").record, place(2, "2.jpg").record
    catalog.sources.settle(source.id, ["2.jpg"])
    catalog.images.delete([one.id, two.id])
    assert found(catalog) == set()
    assert states(catalog, source) == {"1.jpg": "deleted"}
    assert catalog.sources.attach([(FileInPlace(source.id, "moved.jpg", looks(1)), one.sha256)]) == ["deleted"]
    assert catalog.sources.settle(source.id, ["1.jpg"]) == 0
    assert states(catalog, source) == {"moved.jpg": "deleted"}
    assert place(1, None).created  # but whoever adds it himself has it
    assert catalog.problems() == []


def test_pruning(catalog: Catalog, source: Source, place: Place) -> None:
    second = catalog.sources.register("/more")
    one, two, three = (place(n, f"{n}.jpg").record for n in (1, 2, 3))
    other = place(4, "4.jpg", second.id).record
    catalog.sources.settle(source.id, ["1.jpg", "2.jpg"])
    catalog.sources.settle(second.id, ["4.jpg"])
    assert catalog.sources.prune(None, datetime.now(UTC) - timedelta(days=1)) == []
    assert {record.id for record in catalog.sources.prune(source.id, LATER)} == {one.id, two.id}
    with pytest.raises(index.RecordNotFound):
        catalog.images.get(one.id)
    assert states(catalog, source) == {"3.jpg": "present"}
    assert catalog.sources.prune(None, LATER) == [other]
    assert found(catalog) == {three.id}


def test_forgetting_a_source(catalog: Catalog, source: Source, place: Place) -> None:
    second = catalog.sources.register("/more")
    one, shared, copied = place(1, "1.jpg").record, place(2, "2.jpg").record, place(3, None).record
    place(2, "2.jpg", second.id)
    place(3, "3.jpg")
    lost = place(4, "4.jpg", second.id).record
    place(4, "4.jpg")
    catalog.sources.settle(second.id, ["4.jpg"])
    assert {record.id for record in catalog.sources.forget(source.id)} == {one.id, lost.id}
    assert found(catalog) == {shared.id, copied.id}
    assert catalog.sources.all() == [second]
    assert catalog.sources.register("/photos").id != source.id
