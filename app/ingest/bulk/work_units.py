"""Pieces of work: what one worker reads from its beginning to its end."""

from __future__ import annotations

from dataclasses import dataclass

FILES_A_PIECE = 64
"""Image files that a worker takes at a time."""
PART_BYTES = 128 * 1024 * 1024
"""A Parquet file is read in as many parts as it has times so many bytes."""

PARQUET_ENDINGS = frozenset({".parquet"})
TAR_ENDINGS = frozenset({".tar"})


@dataclass(frozen=True)
class Files:
    """Image files: paths, or URLs of S3."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Tar:
    """A tar file, such as WebDataset's."""

    path: str


@dataclass(frozen=True)
class Parquet:
    """Every `parts`-th row group of a Parquet file, from the row group `part` on. `column`: where the images are."""

    path: str
    column: str | None
    part: int
    parts: int


Piece = Files | Tar | Parquet


def names(piece: Piece) -> tuple[str, ...]:
    """What it consists of, for people: its files, or its one archive."""
    match piece:
        case Files(paths):
            return paths
        case Tar(path):
            return (path,)
        case Parquet(path, part=part, parts=parts):
            return (path if parts == 1 else f"{path}, part {part + 1} of {parts}",)
