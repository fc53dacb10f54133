"""What the files of a catalog's images say: which have been asked, and when their photographs were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time

from sqlalchemy import Connection, func, select, update

from index.catalog import schema
from index.catalog.collection import SqlCollection
from index.catalog.database import Database
from index.catalog.facts import at_clock, clock, encode_facts
from index.types import Filters, ImageRecord, Month, PhotoFacts, PhotoFilter


class SqlPhotos:
    """What files say about images; see `PhotoStore` for what each method promises."""

    def __init__(self, database: Database, images: SqlCollection[ImageRecord]) -> None:
        self._database = database
        self._images = images

    def unread(self, after: int, limit: int) -> list[tuple[int, ImageRecord]]:
        """Return up to `limit` pairs (key, record) with keys above `after` whose files nobody has asked yet."""
        table = schema.images
        query = select(table.c.key).where(table.c.facts_read == 0, table.c.key > after).order_by(table.c.key)
        with self._database.read() as connection:
            keys = connection.execute(query.limit(limit)).scalars().all()
            records = self._images.by_keys(connection, keys)
        return [(key, records[key]) for key in keys]

    def count_unread(self) -> int:
        """Return how many images nobody has asked yet."""
        table = schema.images
        with self._database.read() as connection:
            query = select(func.count()).select_from(table).where(table.c.facts_read == 0)
            return int(connection.execute(query).scalar_one())

    def set(self, facts: Mapping[str, PhotoFacts]) -> None:
        """Keep what contents say, by their SHA-256: an image may have another one by now, or be gone."""
        table = schema.images

        def transaction(connection: Connection) -> None:
            for sha256, one in facts.items():
                connection.execute(update(table).where(table.c.sha256 == sha256).values(encode_facts(one)))

        self._database.write(transaction)

    def months(self, filters: Filters, words: Sequence[str], photo: PhotoFilter) -> list[Month]:
        """Return in which months the images that match were taken, the latest first."""
        taken = schema.images.c.taken
        query, _ = self._images.matching(filters, words, photo, [taken])
        found: list[Month] = []
        with self._database.read() as connection:
            before = query.where(taken.is_not(None)).with_only_columns(func.max(taken))
            while (latest := connection.execute(before).scalar()) is not None:
                day = at_clock(latest).date().replace(day=1)
                first = clock(datetime.combine(day, time()))
                # Each month is counted in the index alone: what a person took in a lifetime has a few hundred.
                counting = query.where(taken >= first, taken <= latest).with_only_columns(func.count())
                found.append(Month(day.year, day.month, connection.execute(counting).scalar_one()))
                before = query.where(taken < first).with_only_columns(func.max(taken))
        return found
