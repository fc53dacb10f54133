"""What every catalog keeps; see `index.interfaces.Catalog`. What one database does beyond it is tested apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import NullPool, create_engine

import index
from index import NewCaption, NewImage, NewSentence, Space
from index.catalog import open_catalog
from index.drafts import caption_draft, image_drafts, sentence_drafts
from index.interfaces import CaptionDraft, Catalog, ChangeBatch, Position
from index.types import CaptionRecord, ImageRecord, SentenceRecord

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]
OpenCatalog = Callable[..., Catalog]

DUE = datetime(2027, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC)


@pytest.fixture
def add(image: Image, space: Space) -> Callable[..., list[ImageRecord]]:
    def add_images(catalog: Catalog, *numbers: int, captions: int = 0) -> list[ImageRecord]:
        drafts = image_drafts([image(n, captions=captions) for n in numbers], space.dimension)
        return [one.record for one in catalog.images.add(drafts, space, lambda names: None)]

    return add_images


@pytest.fixture
def tell(sentence: Sentence, space: Space) -> Callable[..., list[SentenceRecord]]:
    """Store sentences of people's own."""

    def add_sentences(catalog: Catalog, *numbers: int) -> list[SentenceRecord]:
        drafts = sentence_drafts([sentence(n) for n in numbers], space.dimension)
        return [one.record for one in catalog.sentences.add(drafts, space, lambda names: None)]

    return add_sentences


def captions(space: Space, origin: index.CaptionOrigin, *numbers: int) -> list[CaptionDraft]:
    return [
        caption_draft(
            NewCaption(f"sentence {n}", np.random.default_rng(n).normal(size=space.dimension), n / 8),
            origin,
            space.dimension,
        )
        for n in numbers
    ]


def shown(found: Sequence[CaptionRecord]) -> list[tuple[str, str]]:
    return [(one.sentence.text.removeprefix("sentence "), one.origin) for one in found]


def texts(catalog: Catalog) -> dict[str, str | None]:
    """What sentences there are, and the origin that they tell."""
    return {
        record.text.removeprefix("sentence "): record.metadata.get("origin")
        for _, record in catalog.sentences.page(None, 100, {})
    }


def test_one_name_is_one_record_whoever_comes_first(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]], image: Image, space: Space
) -> None:
    asked: list[list[str]] = []
    (draft,) = image_drafts([image(1)], space.dimension)
    first, again = catalog.images.add([draft, draft], space, asked.append)
    (later,) = other.images.add([draft], space, asked.append)
    assert [first.created, again.created, later.created] == [True, False, False]
    assert first.record == again.record == later.record == other.images.get(first.record.id)
    assert asked == [[draft.name], []]


def test_what_fails_before_the_insert_stores_nothing(catalog: Catalog, image: Image, space: Space) -> None:
    def fail(names: list[str]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        catalog.images.add(image_drafts([image(1)], space.dimension), space, fail)
    assert catalog.images.count({}) == 0
    with pytest.raises(index.SpaceMismatch):
        catalog.images.add(image_drafts([image(1)], space.dimension), Space("c" * 64, "other", 32), lambda names: None)


def test_keys_ascend_in_the_order_of_commits_and_are_never_used_again(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: add((catalog, other)[n % 2], n), range(20)))
    keys = catalog.images.keys({})
    assert len(set(keys.tolist())) == 20
    newest = catalog.images.page(None, 1, {})[0]
    catalog.images.delete([newest[1].id])
    add(other, 100)
    assert catalog.images.page(None, 1, {})[0][0].key > newest[0].key


def test_a_follower_is_told_everything_once_whoever_did_it(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]]
) -> None:
    def poll(since: index.interfaces.Position | None) -> list[ChangeBatch]:
        return list(feed.poll(since))

    one, two = add(catalog, 1, 2)
    feed = catalog.images.feed()
    (batch,) = poll(None)
    assert (batch.reset, len(batch.added), len(batch.halves), batch.removed.tolist()) == (True, 2, 2, [])
    assert batch.position == catalog.images.head()
    assert poll(batch.position) == []
    (three,) = add(other, 3)
    other.images.delete([one.id])
    (after,) = poll(batch.position)
    assert not after.reset
    assert after.removed.tolist() == [batch.added[0]]
    assert [record.id for record in catalog.images.records(after.added).values()] == [three.id]
    assert other.images.anchor(Position(1, int(batch.added[0]), after.position.deletion)) == f"{one.id}:{one.id}"
    assert other.images.anchor(Position(1, int(batch.added[0]), after.position.deletion + 1)) is None
    assert poll(after.position) == []
    assert feed.removed_since(0).tolist() == after.removed.tolist()
    assert feed.removed_since(after.position.deletion).tolist() == []
    feed.close()
    assert catalog.images.get(two.id)


def test_an_update_sees_what_others_wrote_and_loses_nothing(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]]
) -> None:
    (record,) = add(catalog, 1)

    def update(n: int) -> None:
        (catalog, other)[n % 2].images.update(record.id, lambda now: {**now.metadata, f"n{n}": n})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, range(40)))
    assert catalog.images.get(record.id).metadata == {"number": 1, **{f"n{n}": n for n in range(40)}}
    assert catalog.images.count({"n7": "7"}) == 1
    assert other.problems() == []


def test_an_update_that_fails_changes_nothing(catalog: Catalog, add: Callable[..., list[ImageRecord]]) -> None:
    (record,) = add(catalog, 1)
    with pytest.raises(ZeroDivisionError):
        catalog.images.update(record.id, lambda now: {"n": 1 // 0})
    with pytest.raises(index.InvalidMetadata):
        catalog.images.update(record.id, lambda now: {"n": float("nan")})
    with pytest.raises(index.RecordNotFound):
        catalog.images.update("nowhere", lambda now: {})
    assert catalog.images.get(record.id) == record
    assert catalog.images.count({"number": "1"}) == 1


def test_a_deletion_is_all_or_nothing(catalog: Catalog, add: Callable[..., list[ImageRecord]]) -> None:
    one, two = add(catalog, 1, 2)
    with pytest.raises(index.RecordNotFound):
        catalog.images.delete([one.id, "nowhere"])
    assert catalog.images.count({}) == 2
    assert catalog.images.delete([one.id]) == [one]
    assert [record for _, record in catalog.images.page(None, 10, {})] == [two]


def test_captions_have_an_order_and_an_origin(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]], space: Space
) -> None:
    (image,) = add(catalog, 1)
    assert catalog.captions.of(image.id) == []
    added = catalog.captions.add(image.id, captions(space, "captioner", 5, 3), space)
    assert [(one.sentence.metadata, one.score) for one in added] == [
        ({"origin": "captioner"}, 5 / 8),
        ({"origin": "captioner"}, 3 / 8),
    ]
    other.captions.add(image.id, captions(space, "captioner", 4, 3), space)
    assert shown(catalog.captions.of(image.id)) == [("5", "captioner"), ("3", "captioner"), ("4", "captioner")]
    assert shown(other.captions.set(image.id, captions(space, "user", 9, 3, 9), space)) == [
        ("9", "user"),
        ("3", "user"),
        ("5", "captioner"),
        ("4", "captioner"),
    ]
    assert shown(catalog.captions.set(image.id, captions(space, "user", 8), space)) == [
        ("8", "user"),
        ("5", "captioner"),
        ("4", "captioner"),
    ]
    assert texts(other) == {"3": None, "4": "captioner", "5": "captioner", "8": None, "9": None}
    assert catalog.problems() == []


def test_what_the_captioner_wrote_goes_with_the_last_image(
    catalog: Catalog, add: Callable[..., list[ImageRecord]], tell: Callable[..., list[SentenceRecord]], space: Space
) -> None:
    one, two = add(catalog, 1, 2)
    tell(catalog, 7)
    catalog.captions.add(one.id, captions(space, "captioner", 5, 6, 7), space)
    catalog.captions.add(two.id, captions(space, "captioner", 6, 8), space)
    tell(catalog, 8)  # now it is people's own
    assert texts(catalog) == {"5": "captioner", "6": "captioner", "7": None, "8": None}
    before = catalog.sentences.head()
    catalog.images.delete([one.id])
    assert texts(catalog) == {"6": "captioner", "7": None, "8": None}
    assert catalog.sentences.head().deletion > before.deletion  # followers are told
    catalog.captions.delete(two.id, "user")
    assert shown(catalog.captions.of(two.id)) == [("6", "captioner"), ("8", "captioner")]
    catalog.captions.delete(two.id, None)
    assert texts(catalog) == {"7": None, "8": None}
    assert catalog.problems() == []
    with pytest.raises(index.RecordNotFound):
        catalog.captions.of(one.id)


def test_captions_of_no_image_store_nothing(catalog: Catalog, space: Space) -> None:
    for write in (catalog.captions.add, catalog.captions.set):
        with pytest.raises(index.RecordNotFound):
            write("nowhere", captions(space, "captioner", 1), space)
    with pytest.raises(index.RecordNotFound):
        catalog.captions.delete("nowhere", None)
    assert texts(catalog) == {}


def test_what_is_owed_is_claimed_by_one_and_settled_by_its_captions(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]], space: Space
) -> None:
    images = add(catalog, 1, 2, 3, captions=2)
    add(catalog, 4)
    assert catalog.captions.owed() == 3
    claimed = catalog.captions.claim(2, 60)
    assert [(one.image_id, one.count) for one in claimed] == [(image.id, 2) for image in images[:2]]
    assert [one.image_id for one in other.captions.claim(5, 0)] == [images[2].id]
    assert [one.image_id for one in catalog.captions.claim(5, 60)] == [images[2].id]  # the claim before has ended
    assert other.captions.claim(5, 60) == []
    catalog.captions.add(images[0].id, captions(space, "captioner", 1), space)
    catalog.images.delete([images[1].id])
    catalog.captions.add(images[2].id, [], space)
    assert other.captions.owed() == 0


def test_what_fails_too_often_is_given_up_until_somebody_retries(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]], space: Space, other_space: Space
) -> None:
    image, _ = add(catalog, 1, 2, captions=2)
    catalog.captions.add(_.id, [], space)
    assert other.captions.retry() == 0
    for attempt in range(1, index.MAX_CAPTION_ATTEMPTS + 1):
        assert (other.captions.owed(), other.captions.given_up()) == (1, 0)
        assert [one.attempt for one in catalog.captions.claim(5, 60)] == [attempt]
        catalog.captions.release([image.id, "nowhere"], 0, counted=False)
        assert [one.attempt for one in other.captions.claim(5, 60)] == [attempt]
        assert (other.captions.owed(), other.captions.given_up()) == (1, 0)  # it is at work
        other.captions.release([image.id], 60, counted=True)
        assert catalog.captions.claim(5, 60) == []  # it rests
        other.captions.release([image.id], 0, counted=True)
    assert (catalog.captions.owed(), catalog.captions.given_up()) == (0, 1)
    assert other.captions.claim(5, 60) == []
    assert other.captions.retry() == 1
    assert [one.attempt for one in catalog.captions.claim(5, 60)] == [1]
    other.captions.retry()
    catalog.captions.release([image.id], 60, counted=True)  # of the attempt before
    assert [one.attempt for one in catalog.captions.claim(5, 60)] == [1]


def test_pending_deletions_are_known_to_all_and_end_once(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]]
) -> None:
    one, two, three = add(catalog, 1, 2, 3)
    catalog.pending.schedule(one.id, DUE + timedelta(seconds=1))
    catalog.pending.schedule(two.id, DUE)
    catalog.pending.schedule(three.id, DUE + timedelta(hours=1))
    with pytest.raises(index.RecordNotFound):
        catalog.pending.schedule("nowhere", DUE)
    assert [(item.image_id, item.filename) for item in other.pending.all()] == [
        (two.id, "2.png"),
        (one.id, "1.png"),
        (three.id, "3.png"),
    ]
    assert other.pending.all()[0].due == DUE
    assert other.pending.cancel([one.id, "nowhere", one.id]) == [one.id]
    assert catalog.pending.cancel([one.id]) == []
    assert catalog.pending.carry_out(one.id, DUE + timedelta(days=1)) is None
    assert other.pending.carry_out(two.id, DUE - timedelta(microseconds=1)) is None, "it is not due yet"
    assert other.pending.carry_out(two.id, DUE) == two
    assert catalog.pending.carry_out(two.id, DUE) is None
    add(other, 3)  # whoever stores it again keeps it
    assert catalog.pending.all() == []
    assert catalog.images.count({}) == 2
    assert catalog.problems() == []


def test_what_is_overdue_is_put_off_unless_it_was_undone(
    catalog: Catalog, other: Catalog, add: Callable[..., list[ImageRecord]]
) -> None:
    early, undone, late = add(catalog, 1, 2, 3)
    for record, hours in ((early, 0), (undone, 0), (late, 2)):
        catalog.pending.schedule(record.id, DUE + timedelta(hours=hours))
    assert other.pending.cancel([undone.id]) == [undone.id]
    assert catalog.pending.postpone(DUE, DUE + timedelta(hours=1)) == [early.id]
    assert catalog.pending.postpone(DUE, DUE + timedelta(hours=1)) == []
    assert [(one.image_id, one.due - DUE) for one in other.pending.all()] == [
        (early.id, timedelta(hours=1)),
        (late.id, timedelta(hours=2)),
    ]


def test_a_closed_catalog_says_so(catalog: Catalog) -> None:
    catalog.close()
    catalog.close()
    for call in (catalog.state, catalog.captions.owed, catalog.pending.all, lambda: catalog.images.get("x")):
        with pytest.raises(index.LibraryClosed):
            call()


def test_a_catalog_that_is_migrated_while_it_is_open_takes_nothing_more(
    catalog: Catalog, catalog_url: str, add: Callable[..., list[ImageRecord]], space: Space
) -> None:
    [record] = add(catalog, 1)
    version = catalog.state().schema_version
    engine = create_engine(catalog_url, poolclass=NullPool)
    with engine.begin() as newer:  # as a newer Visem would, in one transaction
        newer.exec_driver_sql("ALTER TABLE images ADD COLUMN extra INTEGER DEFAULT 7")
        newer.exec_driver_sql(f"UPDATE meta SET value = '{version + 1}' WHERE name = 'schema_version'")  # noqa: S608
    for write in (
        lambda: add(catalog, 2),
        lambda: catalog.images.delete([record.id]),
        lambda: catalog.leases.claim("work", "me", 60.0),
        lambda: catalog.pending.schedule(record.id, DUE),
        catalog.state,
        lambda: open_catalog(catalog_url, None, lambda: True),
    ):
        with pytest.raises(index.CatalogUnsupported, match=rf"version {version + 1}.*version {version}\b"):
            write()
    with engine.begin() as newer:
        assert newer.exec_driver_sql("SELECT id, extra FROM images").all() == [(record.id, 7)]
