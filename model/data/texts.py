"""Captions without photographs: text that the captioner, and a smaller sentence encoder, learn from."""

from __future__ import annotations

import gzip
from pathlib import Path

from model.errors import DatasetError
from model.words import tokenise

ENDING = ".tsv.gz"


def read_texts(folder: Path) -> dict[str, list[str]]:
    """The captions of every `NAME.tsv.gz` in a folder, by name: lines of an image's id, a tab, and a caption.

    Errors: `DatasetError` where there is none, or where a file cannot be read.
    """
    files = sorted(folder.glob(f"*{ENDING}"))
    if not files:
        raise DatasetError("dataset_missing", f"{folder} has no captions: no file NAME{ENDING}.")
    captions: dict[str, list[str]] = {}
    for file in files:
        try:
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                read = [line.rstrip("\n").partition("\t")[2] for line in lines]
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise DatasetError(
                "dataset_malformed", f"{file} cannot be read: {error}. It is to be gzipped UTF-8."
            ) from error
        captions[file.name.removesuffix(ENDING)] = [caption for caption in read if tokenise(caption)]
        if not captions[file.name.removesuffix(ENDING)]:
            raise DatasetError(
                "dataset_empty", f"{file} has no captions: its lines are to be an id, a tab, and a caption."
            )
    return captions
