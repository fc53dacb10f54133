"""Taking over what another catalog had, within a transaction: with its ids, its times and the bits of its vectors."""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, select, update

from index.catalog import files, relations, schema
from index.catalog.rows import insert_records, name_column, select_in
from index.catalog.times import microseconds
from index.interfaces import Draft
from index.metadata import decode_metadata, encode_metadata
from index.types import Concept, Halves, Signature, Target
from index.types.moving import MovedCaption, MovedFile, MovedImage, MovedSentence, MovedSource, Part, Taken, Tally, real
from index.vector_encoding import singles


def take(connection: Connection, part: Part, before_insert: Callable[[list[str]], None]) -> Taken:
    """Take over a part; see `MovingStore.take`."""
    taken = Taken()
    sources = _register(connection, part.sources)
    _take_images(connection, part, sources, before_insert, taken)
    for file in part.files:
        _take_file(connection, sources, file, None, taken.files)
    _take_sentences(connection, part, taken)
    return taken


def _register(connection: Connection, sources: Iterable[MovedSource]) -> dict[str, int]:
    """Return the keys of folders by the ids that they have in the part. New ones wait for somebody to resume them."""
    table = schema.sources
    keys: dict[str, int] = {}
    for source in sources:
        root = os.fsencode(real(source.root))
        key = connection.execute(select(table.c.key).where(table.c.root == root)).scalar()
        if key is None:
            taken = connection.execute(select(table.c.key).where(table.c.id == source.id)).scalar() is not None
            id = secrets.token_hex(10) if taken else source.id
            values = {"id": id, "root": root, "paused": 1, "state": "new", "mounts": "[]"}
            key = connection.execute(insert(table).values(**values).returning(table.c.key)).scalar_one()
        keys[source.id] = int(key)
    return keys


def _take_images(
    connection: Connection,
    part: Part,
    sources: Mapping[str, int],
    before_insert: Callable[[list[str]], None],
    taken: Taken,
) -> None:
    names = [image.sha256 for image in part.images]
    relations.keep_images(connection, [image.sha256 for image in part.images if image.deletion_due is None])
    known, new = _sort(connection, "images", part.images, names, taken.images, taken)
    before_insert([names[at] for at in new])
    fresh = [part.images[at] for at in new]
    rows = insert_records(
        connection, "images", [_image_draft(part.images[at], _row(part.image_vectors, at)) for at in new]
    )
    keys = {row["sha256"]: row["key"] for row in rows}
    for image in fresh:
        _relate(connection, image, keys[image.sha256])
    everything = {**{name: row["key"] for name, row in known.items()}, **keys}
    files.has_copy(
        connection, [known[one.sha256]["key"] for one in part.images if one.sha256 in known and not one.in_place]
    )
    for image in part.images:
        if image.sha256 in everything:
            for file in image.files:
                _take_file(connection, sources, file, everything[image.sha256], taken.files)
        else:
            taken.files.refused += len(image.files)
    files.hide_missing(connection, [keys[image.sha256] for image in fresh if image.in_place])


def _relate(connection: Connection, image: MovedImage, key: int) -> None:
    """Write what hangs on a new image, but for captions."""
    if image.captions_owed and image.captions_owed.attempts:
        owed = schema.captions_owed
        connection.execute(update(owed).where(owed.c.image == key).values(attempts=image.captions_owed.attempts))
    if image.deletion_due is not None:
        connection.execute(insert(schema.pending_deletions).values(image=key, due=microseconds(image.deletion_due)))
    if image.in_place is not None:
        since = image.in_place.missing_since
        missing = None if since is None else microseconds(since)
        connection.execute(insert(schema.images_in_place).values(image=key, missing_since=missing))


def _take_file(
    connection: Connection, sources: Mapping[str, int], file: MovedFile, image: int | None, tally: Tally
) -> None:
    table, in_place = schema.source_files, schema.images_in_place
    source, path = sources[file.source], real(file.path)
    there = (table.c.source == source) & (table.c.path == os.fsencode(path))
    if connection.execute(select(table.c.state).where(there)).first() is not None:
        tally.known += 1
        return
    signature = Signature(file.size, file.mtime_ns, file.inode)
    files.write_file(
        connection,
        source,
        path,
        signature,
        file.state,
        image=image,
        sha256=file.sha256,
        code=file.code,
        reason=file.reason,
    )
    if image is not None and file.state == "present":
        connection.execute(update(in_place).where(in_place.c.image == image).values(missing_since=None))
    tally.new += 1


def _take_sentences(connection: Connection, part: Part, taken: Taken) -> None:
    images = _image_keys(connection, part.sentences)
    relations.claim_sentences(connection, [one.text for one in part.sentences if one.origin is None])
    # One of the captioner lives by its images: without any of them it is left behind.
    alive = [
        at
        for at, one in enumerate(part.sentences)
        if one.origin is None or any(caption.image in images for caption in one.captions)
    ]
    for at in sorted(set(range(len(part.sentences))) - set(alive)):
        taken.sentences.refused += not part.sentences[at].continued
        taken.captions.refused += len(part.sentences[at].captions)
    lines = [part.sentences[at] for at in alive]
    known, new = _sort(connection, "sentences", lines, [line.text for line in lines], taken.sentences, taken)
    drafts = [_sentence_draft(lines[at], _row(part.sentence_vectors, alive[at])) for at in new]
    rows = insert_records(connection, "sentences", drafts)
    keys = {**{name: row["key"] for name, row in known.items()}, **{row["text"]: row["key"] for row in rows}}
    captions = [(keys.get(line.text), caption) for line in lines for caption in line.captions]
    _take_captions(connection, captions, images, taken.captions)


def _take_captions(
    connection: Connection,
    captions: Sequence[tuple[int | None, MovedCaption]],
    images: Mapping[str, int],
    tally: Tally,
) -> None:
    """Write which sentences are captions of which images; places that are taken already are given up for the next."""
    table = schema.captions
    there: set[tuple[int, int]] = set()
    places: dict[tuple[int, str], set[int]] = defaultdict(set)
    columns = [table.c.image, table.c.sentence, table.c.origin, table.c.place]
    for row in select_in(connection, columns, table.c.image, list(images.values())):
        there.add((row["image"], row["sentence"]))
        places[row["image"], row["origin"]].add(row["place"])
    rows = []
    for sentence, caption in captions:
        image = images.get(caption.image)
        if image is None or sentence is None:
            tally.refused += 1
        elif (image, sentence) in there:
            tally.known += 1
        else:
            taken = places[image, caption.origin]
            place = caption.place if caption.place not in taken else max(taken) + 1
            taken.add(place)
            there.add((image, sentence))
            about = {"origin": caption.origin, "place": place, "score": caption.score}
            rows.append({"image": image, "sentence": sentence, **about})
    if rows:
        connection.execute(insert(table), rows)
    tally.new += len(rows)


def _sort(
    connection: Connection,
    target: Target,
    records: Sequence[MovedImage | MovedSentence],
    names: Sequence[str],
    tally: Tally,
    taken: Taken,
) -> tuple[dict[str, Mapping[Any, Any]], list[int]]:
    """Return what is known, by name, and where the new ones are; those whose id is another record's are refused."""
    table, name = schema.records[target], name_column(target)
    known = {row[name.name]: row for row in select_in(connection, [table.c.key, name, table.c.metadata], name, names)}
    ids = [record.id for record in records]
    others = {row["id"] for row in select_in(connection, [table.c.id], table.c.id, ids)}
    new: list[int] = []
    for at, (record, of) in enumerate(zip(records, names, strict=True)):
        if isinstance(record, MovedSentence) and record.continued:
            continue  # it was counted when it came first
        if of in known:
            tally.known += 1
            taken.differing += decode_metadata(known[of]["metadata"]) != record.metadata
        elif record.id in others:
            tally.refused += 1
            what = "image" if target == "images" else "sentence"
            taken.conflicts.append(f"The {what} {record.id} is another one in this library; it was left out.")
        else:
            tally.new += 1
            new.append(at)
    return known, new


def _image_keys(connection: Connection, sentences: Sequence[MovedSentence]) -> dict[str, int]:
    table = schema.images
    names = [caption.image for sentence in sentences for caption in sentence.captions]
    return {
        row["sha256"]: row["key"] for row in select_in(connection, [table.c.key, table.c.sha256], table.c.sha256, names)
    }


def _image_draft(image: MovedImage, vector: Halves) -> Draft:
    plain = ("id", "filename", "media_type", "width", "height", "size")
    return Draft(
        name=image.sha256,
        columns={**{name: getattr(image, name) for name in plain}, "created_at": microseconds(image.created_at)},
        vector=singles(vector),
        metadata=encode_metadata(image.metadata),
        concepts=tuple(Concept(word, score) for word, score in image.concepts),
        facts=None if image.facts is None else image.facts.facts(),
        captions=0 if image.captions_owed is None else image.captions_owed.count,
    )


def _sentence_draft(sentence: MovedSentence, vector: Halves) -> Draft:
    columns = {"id": sentence.id, "origin": sentence.origin, "created_at": microseconds(sentence.created_at)}
    return Draft(sentence.text, columns, singles(vector), encode_metadata(sentence.metadata))


def _row(vectors: Halves | None, at: int) -> Halves:
    row: Halves = np.asarray(vectors)[at]
    return row
