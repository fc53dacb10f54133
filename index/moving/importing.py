"""Taking over what is in an archive, part by part: each in one transaction, and what is there already stays as it is.

So an import that was interrupted is repeated, and goes on. Whoever wrote the archive is not trusted. The models of
`index.types.moving` check that records are what catalogs have, and here it is checked that files are what records say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from index.interfaces import Catalog, ContentStore
from index.moving.archive import ArchiveReader, DamagedError
from index.moving.lines import records_of, vectors_of
from index.pacing import Progress
from index.repairing import RenderThumbnail
from index.storing import FilesToStore
from index.thumbnails import is_damaged, keeps_thumbnail
from index.types import Signature, Space
from index.types.moving import MovedFile, MovedImage, MovedSentence, MovedSource, Part, Taken, real

FindInPlace = Callable[[str, str, str], Signature | None]
"""Takes a root, a path below it and a SHA-256; returns what the file there looks like, if it has this content."""

_UNSEEN = Signature(0, 0, 0)


@dataclass
class Imported:
    """What was imported. `problems` names images that were left out: a sentence each, like conflicts."""

    taken: Taken = field(default_factory=Taken)
    sources: tuple[str, ...] = ()
    in_place: int = 0
    problems: list[str] = field(default_factory=list)


class Importing:
    """One import."""

    def __init__(
        self,
        catalog: Catalog,
        content: ContentStore,
        space: Space,
        *,
        render: RenderThumbnail,
        find_in_place: FindInPlace,
        progress: Progress,
    ) -> None:
        """Prepare one into a library whose vectors are of `space`, as those of the archive have to be."""
        self._catalog = catalog
        self._content = content
        self._space = space
        self._render = render
        self._find_in_place = find_in_place
        self._progress = progress
        self._sources: list[MovedSource] = []
        self._imported = Imported()

    def run(self, reader: ArchiveReader) -> Imported:
        """Take over all of it; DamagedError, SpaceMismatch, and what writing raises."""
        taken = self._imported.taken
        counts = reader.header.counts
        contents = content_bytes = 0
        for files in reader.parts():
            self._part(files)
            own = [len(data) for name, data in files.items() if name.startswith("content/")]
            contents, content_bytes = contents + len(own), content_bytes + sum(own)
            self._progress(taken.images.total + taken.sentences.total, counts.images + counts.sentences)
        found = {
            "images": taken.images.total,
            "sentences": taken.sentences.total,
            "captions": taken.captions.total,
            "sources": len(self._sources),
            "files": taken.files.total,
            "contents": contents,
            "content_bytes": content_bytes,
        }
        for name, number in reader.counts:
            if found[name] != number:
                raise DamagedError(f"it says that it has {number} {name}, but there are {found[name]}")
        self._imported.sources = tuple(real(source.root) for source in self._sources)
        return self._imported

    def _part(self, files: Mapping[str, bytes]) -> None:
        dimension = self._space.dimension
        images = records_of(files, MovedImage, "images")
        sentences = records_of(files, MovedSentence, "sentences")
        known = records_of(files, MovedFile, "files")
        self._sources += records_of(files, MovedSource, "sources")
        _require_unique("sources", [source.id for source in self._sources], [one.root for one in self._sources])
        _require_unique("images", [image.id for image in images], [image.sha256 for image in images])
        _require_unique("sentences", [one.id for one in sentences], [one.text for one in sentences])
        image_vectors = vectors_of(files, "images", len(images), dimension) if images else None
        sentence_vectors = vectors_of(files, "sentences", len(sentences), dimension) if sentences else None
        self._require_sources([*known, *(file for image in images for file in image.files)])
        _require_files(images, files)
        pairs = {image.sha256: self._files(image, files) for image in images}
        chosen = [at for at, image in enumerate(images) if pairs[image.sha256] is not None]
        lost = [image for image in images if pairs[image.sha256] is None]
        storing = FilesToStore(self._catalog, self._content, {name: pair for name, pair in pairs.items() if pair})
        storing.store()
        part = Part(
            sources=self._sources,
            files=[self._seen(file) for file in known],
            images=[self._with_files(images[at]) for at in chosen],
            image_vectors=None if image_vectors is None else image_vectors[chosen],
            sentences=sentences,
            sentence_vectors=sentence_vectors,
        )
        taken = self._catalog.moving.take(part, self._space, storing.ensure)
        taken.images.refused += len(lost)
        taken.files.refused += sum(len(image.files) for image in lost)
        self._imported.taken += taken
        self._imported.in_place += sum(images[at].in_place is not None for at in chosen)

    def _require_sources(self, files: list[MovedFile]) -> None:
        known = {source.id for source in self._sources}
        if any(file.source not in known for file in files):
            raise DamagedError("there are files of a folder that is not in it")

    def _files(self, image: MovedImage, files: Mapping[str, bytes]) -> tuple[bytes | None, bytes | None] | None:
        """Return content, None if it is elsewhere, and thumbnail of an image, None if none is kept.

        None instead of both if there is to be a thumbnail, and none can be made.
        """
        content = files.get(f"content/{image.sha256}")
        thumbnail = files.get(f"thumbnails/{image.sha256}.jpg")
        if thumbnail is not None and not is_damaged(thumbnail):
            return content, thumbnail
        if not keeps_thumbnail(image.width, image.height, image.size):
            return content, None
        if content is not None:
            try:
                return content, self._render(content)
            except ValueError as error:
                reason = str(error)
        else:
            reason = "it has none, and its content is not in the archive"
        self._imported.problems.append(f"images: {image.id} was left out: no thumbnail could be made: {reason}")
        return None

    def _with_files(self, image: MovedImage) -> MovedImage:
        if not image.files:
            return image
        return image.model_copy(update={"files": tuple(self._seen(file) for file in image.files)})

    def _seen(self, file: MovedFile) -> MovedFile:
        """Return a file as it looks here. What only the archive says of it is not believed: it is read before use."""
        looks = _UNSEEN
        if file.state == "present" and file.sha256 is not None:
            root = next(source.root for source in self._sources if source.id == file.source)
            looks = self._find_in_place(real(root), real(file.path), file.sha256) or _UNSEEN
        elif file.state != "present":
            return file
        return file.model_copy(update=looks._asdict())


def _require_unique(name: str, *keys: list[str]) -> None:
    if any(len(set(some)) < len(some) for some in keys):
        raise DamagedError(f"there are {name} that come twice in a part")


def _require_files(images: list[MovedImage], files: Mapping[str, bytes]) -> None:
    """Raise DamagedError unless the files of a part are those of its images, of the sizes that these say."""
    own = {f"content/{image.sha256}": image.size for image in images if image.in_place is None}
    contents = {name: len(data) for name, data in files.items() if name.startswith("content/")}
    if contents != own:
        raise DamagedError("the contents of a part are not those of its images")
    thumbnails = {name for name in files if name.startswith("thumbnails/")}
    if not thumbnails <= {f"thumbnails/{image.sha256}.jpg" for image in images}:
        raise DamagedError("there is a thumbnail of no image")
