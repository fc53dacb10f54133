"""Captions without photographs: what the language model learns from beside the captioned images."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.captioner.tagging import tag_captions
from model.errors import DatasetError
from model.training.captioner.data import LONGEST
from model.training.progress import Report, counting
from model.words import tokenise

ENDING = ".tsv.gz"
EMBEDDED = 256


@dataclass(frozen=True)
class WideTexts:
    """Captions without photographs: their words, tags and vectors (m, D)."""

    tokens: list[list[str]]
    tags: list[list[str]]
    vectors: npt.NDArray[np.float16]


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


def draw_texts(captions: dict[str, list[str]], most: int, seed: int) -> list[str]:
    """At most so many of them, drawn at random; the same ones for a seed."""
    every = [caption for own in captions.values() for caption in own]
    rows = np.random.default_rng(seed).permutation(len(every))[:most]
    return [every[row] for row in sorted(rows.tolist())]


def prepare_texts(
    captions: Sequence[str],
    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]],
    cache: Path,
    report: Report,
) -> WideTexts:
    """Words, tags and vectors of captions; `cache`: where the vectors are kept for a run that goes on."""
    tokens = [tokenise(caption)[:LONGEST] for caption in captions]
    tags = tag_captions(tokens)
    if not cache.exists():
        counted = counting(report, "embedding texts")
        parts = []
        for start in range(0, len(captions), EMBEDDED):
            parts.append(embed(captions[start : start + EMBEDDED]).astype(np.float16))
            counted(min(start + EMBEDDED, len(captions)), len(captions))
        partial = cache.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(parts))
        partial.replace(cache)
    return WideTexts(tokens, tags, np.load(cache))
