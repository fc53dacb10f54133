"""Writing a library into an archive while others work with it.

All records are of one moment: they are copied first, into a spool, so that the catalog need not hold that moment for as
long as it takes to read the files. An image that is deleted while its file is on its turn is left out, together with
what hung on it alone: as if it had been deleted before.

An export that was interrupted goes on from spool and archive, as far as both are whole. So all records are of the
moment of the first run. An image that it left out stays left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO

from index.errors import LibraryError, StorageFailed
from index.interfaces import Catalog, ContentStore, Snapshot
from index.moving.archive import LARGEST_CONTENT, PART_BYTES, ArchiveReader, ArchiveWriter, DamagedError
from index.moving.lines import part_files, records_of, vectors_of
from index.moving.resuming import ResumedArchive
from index.pacing import Progress
from index.thumbnails import keeps_thumbnail
from index.types import ContentKind
from index.types.moving import Counts, Header, MovedFile, MovedImage, MovedSentence, MovedSource, MovedSpace

_READERS = 8  # files read at a time
_MOST_THUMBNAIL = 4 * 2**20

Resuming = Callable[[datetime], None]
"""Is told that an interrupted export goes on, and when it was begun."""


@dataclass
class Exported:
    """What was exported. `in_place` images have their content elsewhere; `deleted` ones were meanwhile.

    `problems` names images that were left out as their files are lost or damaged: a sentence each. All records are of
    the moment `begun`; an earlier run that was interrupted had written `resumed` of them.
    """

    counts: Counts = field(default_factory=Counts)
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    resumed: int = 0
    in_place: int = 0
    deleted: int = 0
    problems: list[str] = field(default_factory=list)


class Exporting:
    """One export."""

    def __init__(
        self, catalog: Catalog, content: ContentStore, *, copies: bool, progress: Progress, resuming: Resuming
    ) -> None:
        """Prepare one. With `copies`, images in place travel as copies, and folders in place do not."""
        self._catalog = catalog
        self._content = content
        self._copies = copies
        self._progress = progress
        self._resuming = resuming
        self._left_out: set[str] = set()  # contents
        self._lost: set[str] = set()  # ids of sentences
        self._tally = dict.fromkeys(Counts.model_fields, 0)
        self._exported = Exported()

    def run(self, file: IO[bytes], spool: IO[bytes]) -> Exported:
        """Write the archive, or the rest of it; `spool` is a file of its own for the records.

        Both are open for reading, too, and have what an interrupted run with the same `copies` left there, if anything.
        OSError, and what reading raises.
        """
        header = self._records(spool)
        self._exported.begun = header.exported_at
        spool.seek(0)
        reader = ArchiveReader(spool)
        archive = ResumedArchive(file, header)
        total = header.counts.images + header.counts.sentences
        with ThreadPoolExecutor(_READERS, thread_name_prefix="visem-export") as pool:
            for files in reader.parts():
                if "images.jsonl" in files:
                    part = self._images(files, header, pool, archive.next)
                else:
                    part = self._others(files, header)
                done = self._tally["images"] + self._tally["sentences"]
                if part and archive.part(part):
                    self._exported.resumed = done
                self._progress(done, total)
        self._exported.counts = Counts(**self._tally)
        archive.writer().end(self._exported.counts)
        return self._exported

    def _records(self, spool: IO[bytes]) -> Header:
        """Have all records of one moment in the spool: those that are there, if it is whole and of this library."""
        try:
            reader = ArchiveReader(spool)
            for _ in reader.parts():
                pass
            state, found = self._catalog.state(), reader.header
            if found.library_id == state.library_id and found.space.space().agrees_with(state.space):
                self._resuming(found.exported_at)
                return found
        except DamagedError:
            pass
        spool.seek(0)
        spool.truncate()
        with self._catalog.moving.snapshot() as snapshot:
            header = self._spool(snapshot, spool)
        spool.flush()
        return header

    def _spool(self, snapshot: Snapshot, spool: IO[bytes]) -> Header:
        """Write all records as an archive without contents."""
        state = snapshot.state
        space = MovedSpace(id=state.space.id, name=state.space.name, dimension=state.space.dimension)
        now = datetime.now(UTC)
        header = Header(exported_at=now, library_id=state.library_id, space=space, counts=snapshot.counts)
        writer = ArchiveWriter(spool, header)
        if not self._copies and (sources := snapshot.sources()):
            writer.part(part_files(sources=sources))
        for images, vectors in snapshot.images():
            for start, end in self._cut(images):
                writer.part(part_files(images=images[start:end], image_vectors=vectors[start:end]))
        for lines, vectors in snapshot.sentences():
            writer.part(part_files(sentences=lines, sentence_vectors=vectors))
        if not self._copies:
            for files in snapshot.files():
                writer.part(part_files(files=files))
        writer.end(header.counts)
        return header

    def _cut(self, images: Sequence[MovedImage]) -> Iterator[tuple[int, int]]:
        """Yield where parts begin and end whose content has a size that fits into memory."""
        start = held = 0
        for at, image in enumerate(images):
            size = image.size if self._copies or image.in_place is None else 0
            if at > start and held + size > PART_BYTES:
                yield start, at
                start, held = at, 0
            held += size
        yield start, len(images)

    def _images(
        self, files: dict[str, bytes], header: Header, pool: ThreadPoolExecutor, before: dict[str, bytes] | None
    ) -> dict[str, bytes]:
        """Return a part with its contents: from the part that an earlier run wrote in its place, if there is one."""
        images = records_of(files, MovedImage, "images")
        vectors = vectors_of(files, "images", len(images), header.space.dimension)
        kept: list[int] = []
        lines: list[MovedImage] = []
        contents: dict[str, bytes] = {}
        found = self._read_before(images, before) or pool.map(self._read, images)
        for at, (image, read) in enumerate(zip(images, found, strict=True)):
            if isinstance(read, str):
                self._left_out.add(image.sha256)
                if read:
                    self._exported.problems.append(read)
                else:
                    self._exported.deleted += 1
                continue
            contents.update(read)
            kept.append(at)
            lines.append(image.model_copy(update={"in_place": None, "files": ()}) if self._copies else image)
            self._exported.in_place += lines[-1].in_place is not None
            self._tally["files"] += len(lines[-1].files)
        own = [len(data) for name, data in contents.items() if name.startswith("content/")]
        self._tally["images"] += len(lines)
        self._tally["contents"] += len(own)
        self._tally["content_bytes"] += sum(own)
        return {**part_files(images=lines, image_vectors=vectors[kept]), **contents}

    def _read_before(
        self, images: Sequence[MovedImage], before: dict[str, bytes] | None
    ) -> list[dict[str, bytes] | str] | None:
        """Return what `_read` gave for each image in an earlier run; None if `before` is no part with any of them."""
        try:
            there = {image.id for image in records_of(before or {}, MovedImage, "images")}
        except DamagedError:  # of a version that wrote other lines
            return None
        if before is None or there.isdisjoint(image.id for image in images):
            return None
        found: list[dict[str, bytes] | str] = []
        for image in images:
            if image.id in there:
                names = (f"content/{image.sha256}", f"thumbnails/{image.sha256}.jpg")
                found.append({name: before[name] for name in names if name in before})
            else:
                reason = "its content was missing or damaged before this export was interrupted"
                found.append(self._gone(image, reason))
        return found

    def _read(self, image: MovedImage) -> dict[str, bytes] | str:
        """Return the files of an image by their names in a part; or why it is left out: empty if it is deleted."""
        found: dict[str, bytes] = {}
        where = self._content.location(image.sha256, "content")
        if self._copies or image.in_place is None:
            try:
                content = self._bytes(image, "content")
            except LibraryError as error:
                if not isinstance(error, StorageFailed):
                    raise
                return self._gone(image, f"{where} cannot be read: {error}")
            if content is None:
                return self._gone(image, f"its content {where} is missing")
            if len(content) > LARGEST_CONTENT:
                return self._gone(image, f"its content {where} is larger than 1 GiB")
            if hashlib.sha256(content).hexdigest() != image.sha256:
                return self._gone(image, f"its content {where} is damaged; `visem info --repair` moves it aside")
            found[f"content/{image.sha256}"] = content
        thumbnail = self._bytes(image, "thumbnail")
        if thumbnail is not None and len(thumbnail) <= _MOST_THUMBNAIL:
            found[f"thumbnails/{image.sha256}.jpg"] = thumbnail
        elif not found and keeps_thumbnail(image.width, image.height, image.size):
            return self._gone(image, "its thumbnail is missing, and its content is not in the library")
        return found

    def _gone(self, image: MovedImage, reason: str) -> str:
        """Return why an image is left out: nothing if it is because somebody deleted it meanwhile."""
        now = self._catalog.images.find([image.sha256])
        there = image.sha256 in now and now[image.sha256].id == image.id
        return f"images: {image.id} was left out: {reason}." if there else ""

    def _bytes(self, image: MovedImage, kind: ContentKind) -> bytes | None:
        try:
            with closing(self._content.open(image.sha256, kind)) as content:
                return content.read()
        except FileNotFoundError:
            return None

    def _others(self, files: dict[str, bytes], header: Header) -> dict[str, bytes]:
        sources = records_of(files, MovedSource, "sources")
        known = records_of(files, MovedFile, "files")
        sentences = records_of(files, MovedSentence, "sentences")
        self._tally["sources"] += len(sources)
        self._tally["files"] += len(known)
        if not sentences:
            return part_files(sources=sources, files=known)
        vectors = vectors_of(files, "sentences", len(sentences), header.space.dimension)
        kept, lines = self._remaining(sentences)
        self._tally["sentences"] += sum(not line.continued for line in lines)
        self._tally["captions"] += sum(len(line.captions) for line in lines)
        return part_files(sentences=lines, sentence_vectors=vectors[kept])

    def _remaining(self, sentences: Sequence[MovedSentence]) -> tuple[list[int], list[MovedSentence]]:
        """Return the sentences without captions of images that were left out, and where they were.

        One of the captioner goes with the last image that it is a caption of.
        """
        kept: list[int] = []
        lines: list[MovedSentence] = []
        for at, line in enumerate(sentences):
            remaining = line
            if self._left_out and line.captions:
                captions = tuple(one for one in line.captions if one.image not in self._left_out)
                remaining = line.model_copy(update={"captions": captions})
                if not captions and line.origin is not None and not line.continued:
                    self._lost.add(line.id)
            if line.id not in self._lost:
                kept.append(at)
                lines.append(remaining)
        return kept, lines
