"""Captions without photographs: what the language model learns from beside the captioned images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.captioner.tagging import tag_captions
from model.training.captioner.data import LONGEST
from model.training.progress import Report, counting
from model.words import tokenise

EMBEDDED = 256


@dataclass(frozen=True)
class WideTexts:
    """Captions without photographs: their words, tags and vectors (m, D)."""

    tokens: list[list[str]]
    tags: list[list[str]]
    vectors: npt.NDArray[np.float16]


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
