"""The captions of a catalog: a relation between images and sentences, and what the captioner still owes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from index.catalog import relations, schema
from index.catalog.collection import SqlCollection
from index.catalog.database import Database
from index.catalog.relations import CAPTIONER, USER
from index.catalog.rows import forget_attempts, insert_record, select_in
from index.catalog.times import now
from index.interfaces import CaptionDraft
from index.types import (
    MAX_CAPTION_ATTEMPTS,
    CaptionOrigin,
    CaptionRecord,
    ImageRecord,
    OwedCaptions,
    SentenceRecord,
    Space,
)


def _given_up(time: int) -> ColumnElement[bool]:
    table = schema.captions_owed
    return and_(table.c.attempts >= MAX_CAPTION_ATTEMPTS, table.c.claimed_until <= time)


class SqlCaptions:
    """The captions; see `CaptionStore` for what each method promises."""

    def __init__(
        self, database: Database, images: SqlCollection[ImageRecord], sentences: SqlCollection[SentenceRecord]
    ) -> None:
        self._database = database
        self._images = images
        self._sentences = sentences

    def of(self, image_id: str) -> list[CaptionRecord]:
        """Return the captions of an image, people's own first; RecordNotFound."""
        with self._database.read() as connection:
            return self._of(connection, self._key(connection, image_id))

    def add(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Add captions of the captioner and return all captions; the image is no longer owed any."""
        table = schema.captions

        def transaction(connection: Connection) -> list[CaptionRecord]:
            schema.require_space(connection, space)
            image = self._key(connection, image_id)
            connection.execute(delete(schema.captions_owed).where(schema.captions_owed.c.image == image))
            theirs = select(table.c.sentence).where(table.c.image == image)
            there = set(connection.execute(theirs).scalars())
            last = select(func.max(table.c.place)).where(table.c.image == image, table.c.origin == CAPTIONER)
            place = connection.execute(last).scalar()
            place = 0 if place is None else place + 1
            for sentence, draft in self._store(connection, drafts).items():
                if sentence not in there:
                    self._insert(connection, image, sentence, CAPTIONER, place, draft.score)
                    place += 1
            return self._of(connection, image)

        return self._database.write(transaction)

    def set(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Make these people's own captions of an image, and return all its captions."""
        table = schema.captions

        def transaction(connection: Connection) -> list[CaptionRecord]:
            schema.require_space(connection, space)
            image = self._key(connection, image_id)
            relations.claim_sentences(connection, [draft.sentence.name for draft in drafts])
            relations.remove_captions(connection, image, USER)
            for place, (sentence, draft) in enumerate(self._store(connection, drafts).items()):
                connection.execute(delete(table).where(table.c.image == image, table.c.sentence == sentence))
                self._insert(connection, image, sentence, USER, place, draft.score)
            return self._of(connection, image)

        return self._database.write(transaction)

    def delete(self, image_id: str, origin: CaptionOrigin | None) -> None:
        """Delete the captions of an image, or those of one origin; RecordNotFound."""

        def transaction(connection: Connection) -> None:
            image = self._key(connection, image_id)
            relations.remove_orphans(connection, relations.remove_captions(connection, image, origin))

        self._database.write(transaction)

    def owed(self) -> int:
        """Return how many images are owed captions that are not given up."""
        return self._count(~_given_up(now()))

    def given_up(self) -> int:
        """Return how many images have had all their attempts."""
        return self._count(_given_up(now()))

    def claim(self, limit: int, seconds: float) -> list[OwedCaptions]:
        """Return up to `limit` images that are owed captions, which nobody else is given for some seconds."""
        table, images = schema.captions_owed, schema.images
        time = now()
        query = (
            select(table.c.image, table.c["count"].label("wanted"), table.c.attempts, images.c.id)
            .join(images, images.c.key == table.c.image)
            .where(table.c.claimed_until <= time, table.c.attempts < MAX_CAPTION_ATTEMPTS)
            .order_by(table.c.image)
            .limit(limit)
        )

        def transaction(connection: Connection) -> list[OwedCaptions]:
            rows = connection.execute(query).all()
            for row in rows:
                claim = {"claimed_until": time + round(seconds * 1_000_000), "attempts": row.attempts + 1}
                connection.execute(update(table).where(table.c.image == row.image).values(claim))
            return [OwedCaptions(row.id, row.wanted, row.attempts + 1) for row in rows]

        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:  # without waiting for whoever writes
                return []
        return self._database.write(transaction)

    def release(self, image_ids: Sequence[str], seconds: float, *, counted: bool) -> None:
        """End an attempt without captions; nobody is given these images for some seconds."""
        table, images = schema.captions_owed, schema.images

        def transaction(connection: Connection) -> None:
            until = now() + round(seconds * 1_000_000)
            attempts = table.c.attempts if counted else table.c.attempts - 1
            for row in select_in(connection, [images.c.key], images.c.id, image_ids):
                # Where somebody had the attempts forgotten meanwhile, it is due, and stays so.
                released = update(table).where(table.c.image == row["key"], table.c.attempts > 0)
                connection.execute(released.values(claimed_until=until, attempts=attempts))

        self._database.write(transaction)

    def retry(self) -> int:
        """Forget all attempts of what is still owed; return how many images that concerns."""
        return self._database.write(forget_attempts)

    def _count(self, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(schema.captions_owed).where(condition)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _store(self, connection: Connection, drafts: Sequence[CaptionDraft]) -> dict[int, CaptionDraft]:
        """Insert the sentences that are not there yet; return the drafts by the keys of their sentences, in order."""
        table = schema.sentences
        names = [draft.sentence.name for draft in drafts]
        keys = {
            row["text"]: row["key"] for row in select_in(connection, [table.c.key, table.c.text], table.c.text, names)
        }
        stored: dict[int, CaptionDraft] = {}
        for draft in drafts:
            name = draft.sentence.name
            if name not in keys:
                keys[name] = insert_record(connection, "sentences", draft.sentence)["key"]
            stored.setdefault(keys[name], draft)
        return stored

    @staticmethod
    def _insert(
        connection: Connection, image: int, sentence: int, origin: CaptionOrigin, place: int, score: float | None
    ) -> None:
        values = {"image": image, "sentence": sentence, "origin": origin, "place": place, "score": score}
        connection.execute(insert(schema.captions).values(values))

    def _key(self, connection: Connection, image_id: str) -> int:
        return int(self._images.row(connection, image_id)["key"])

    def _of(self, connection: Connection, image: int) -> list[CaptionRecord]:
        table = schema.captions
        rows = connection.execute(select(table).where(table.c.image == image)).all()
        rows = sorted(rows, key=lambda row: (row.origin != USER, row.place))
        records = self._sentences.by_keys(connection, [row.sentence for row in rows])
        return [CaptionRecord(records[row.sentence], row.origin, row.score) for row in rows]
