"""What travels from one library to another, one model for each line of an archive: see docs/moving.md.

Whoever reads an archive need not trust who wrote it: everything that a catalog takes over is checked here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from index.errors import InvalidMetadata, InvalidText
from index.metadata import encode_metadata
from index.texts import checked_text
from index.types.basics import Halves, Space
from index.types.photos import PhotoFacts, Place
from index.types.records import CaptionOrigin
from index.types.sources import FileState

_MANY = 2**53  # what every reader of JSON takes for a whole number
_WORD = 1024  # characters of a concept


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        encode_metadata(value)
    except InvalidMetadata as error:
        raise ValueError(str(error)) from error
    return value


def _sentence(value: str) -> str:
    try:
        text = checked_text(value)
    except InvalidText as error:
        raise ValueError(str(error)) from error
    if text != value:
        raise ValueError("it has white space around it")
    return value


def _picture(value: str) -> str:
    if "svg" in value or "xml" in value:  # a browser would run what is in it
        raise ValueError("it is no type of a picture")
    return value


def _below(value: str) -> str:
    names = unquote_to_bytes(value).split(b"/")
    if any(name in {b"", b".", b".."} or b"\0" in name for name in names):
        raise ValueError("it is no path below a folder")
    return value


def _absolute(value: str) -> str:
    path = os.fsdecode(unquote_to_bytes(value))
    if "\0" in path or path.startswith("//") or os.path.normpath(path) != path or not PurePosixPath(path).is_absolute():
        raise ValueError("it is no absolute path of a folder")
    return value


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, le=_MANY)]
Signed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_metadata)]
MediaType = Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9][a-z0-9.+-]{0,63}$"), AfterValidator(_picture)]
PathBelow = Annotated[str, AfterValidator(_below)]
Root = Annotated[str, AfterValidator(_absolute)]


def written(path: bytes) -> str:
    """Return a path as it stands in an archive: its bytes, in percent-encoding where they are not plain ASCII."""
    return quote_from_bytes(path, safe="/ !#$&'()*+,:;=?@[]^`{|}~")


def real(path: str) -> str:
    """Return the path of this machine that `written` made into text."""
    return os.fsdecode(unquote_to_bytes(path))


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class MovedSpace(_Line):
    """The space of all vectors."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    name: Annotated[str, StringConstraints(max_length=256)]
    dimension: Annotated[int, Field(ge=1, le=65_536)]

    def space(self) -> Space:
        """Return it as libraries know it."""
        return Space(self.id, self.name, self.dimension)


class Counts(_Line):
    """How much there is of each kind. `files`: what is known of files in folders in place."""

    images: Number = 0
    sentences: Number = 0
    captions: Number = 0
    sources: Number = 0
    files: Number = 0
    contents: Number = 0
    content_bytes: Number = 0


class Header(_Line):
    """What an archive begins with. `counts` is what there was when its moment was: to show progress by."""

    format: Literal["visem-library"] = "visem-library"
    version: Literal[1] = 1
    exported_at: AwareDatetime
    library_id: Annotated[str, StringConstraints(max_length=256)]
    space: MovedSpace
    counts: Counts


class End(_Line):
    """What an archive ends with: what is in it, and the SHA-256 of all lists of sums."""

    parts: Number
    counts: Counts
    sha256: Sha256


class MovedFacts(_Line):
    """What the file of a photograph says."""

    taken: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    place: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]] | None = None
    orientation: Annotated[int, Field(ge=0, le=65_535)] | None = None
    title: str | None = None
    keywords: tuple[str, ...] = ()

    @classmethod
    def of(cls, facts: PhotoFacts) -> MovedFacts:
        """Return the facts as a line has them."""
        return cls.model_construct(**{**vars(facts), "place": facts.place and tuple(facts.place)})

    def facts(self) -> PhotoFacts:
        """Return the facts as libraries know them."""
        return PhotoFacts(**{**dict(self), "place": None if self.place is None else Place(*self.place)})


class MovedFile(_Line):
    """A file in a folder in place, and what became of it; `path` is below the root, in percent-encoding."""

    source: Id
    path: PathBelow
    size: Number
    mtime_ns: Signed
    inode: Signed
    state: FileState
    sha256: Sha256 | None = None
    code: str | None = None
    reason: str | None = None


class MovedSource(_Line):
    """A folder in place; `root` is its path, in percent-encoding."""

    id: Id
    root: Root


class InPlace(_Line):
    """Says that the library has no copy of an image; `missing_since`: since when it is hidden, as no file is there."""

    missing_since: AwareDatetime | None = None


class Owed(_Line):
    """How many captions of the captioner an image is still to get, and how often that was attempted."""

    count: Annotated[int, Field(ge=1, le=1000)]
    attempts: Annotated[int, Field(ge=0, le=1000)] = 0


class MovedImage(_Line):
    """An image. `facts`: None if nobody has asked its file yet. `deletion_due`: its deletion can still be undone."""

    id: Id
    sha256: Sha256
    filename: Annotated[str, StringConstraints(max_length=65_536)] | None
    media_type: MediaType
    width: Number
    height: Number
    size: Annotated[int, Field(ge=1, le=_MANY)]
    created_at: AwareDatetime
    metadata: JsonObject
    concepts: tuple[tuple[Annotated[str, StringConstraints(max_length=_WORD)], float], ...] = ()
    facts: MovedFacts | None = None
    captions_owed: Owed | None = None
    deletion_due: AwareDatetime | None = None
    in_place: InPlace | None = None
    files: tuple[MovedFile, ...] = ()


class MovedCaption(_Line):
    """That a sentence is a caption of the image with this content, and its place among those of the same origin."""

    image: Sha256
    origin: CaptionOrigin
    place: Number
    score: float | None = None


class MovedSentence(_Line):
    """A sentence and the images that it is a caption of.

    `continued`: it was in an earlier line already, and these are more of its captions.
    """

    id: Id
    text: Annotated[str, AfterValidator(_sentence)]
    created_at: AwareDatetime
    metadata: JsonObject
    origin: Literal["captioner"] | None = None
    captions: tuple[MovedCaption, ...] = ()
    continued: bool = False

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({caption.image for caption in self.captions}) < len(self.captions):
            raise ValueError("it is a caption of one image twice")
        return self


@dataclass(frozen=True)
class Part:
    """Some records, which a library takes over in one transaction. Vectors (n, D) are as catalogs store them.

    `files` are those of no image; `sources` has all that the files here are in.
    """

    sources: Sequence[MovedSource] = ()
    files: Sequence[MovedFile] = ()
    images: Sequence[MovedImage] = ()
    image_vectors: Halves | None = None
    sentences: Sequence[MovedSentence] = ()
    sentence_vectors: Halves | None = None


@dataclass
class Tally:
    """What became of one kind of records: `new` ones, those `known` before, and those that were `refused`."""

    new: int = 0
    known: int = 0
    refused: int = 0

    @property
    def total(self) -> int:
        """How many there were."""
        return self.new + self.known + self.refused

    def __iadd__(self, other: Tally) -> Self:
        self.new += other.new
        self.known += other.known
        self.refused += other.refused
        return self


@dataclass
class Taken:
    """What became of a part. `differing`: known records with other metadata than here, which keep theirs."""

    images: Tally = field(default_factory=Tally)
    sentences: Tally = field(default_factory=Tally)
    captions: Tally = field(default_factory=Tally)
    files: Tally = field(default_factory=Tally)
    differing: int = 0
    conflicts: list[str] = field(default_factory=list)

    def __iadd__(self, other: Taken) -> Self:
        self.images += other.images
        self.sentences += other.sentences
        self.captions += other.captions
        self.files += other.files
        self.differing += other.differing
        self.conflicts += other.conflicts
        return self
