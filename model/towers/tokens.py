"""Texts to tokens for imported text encoders: the cleaning of the library that trained them, its `tokenizer.json`.

    none          as it is
    whitespace    ftfy mends broken encodings, HTML entities become characters, white space becomes single spaces
    lower         the same, in lower case: CLIP
    canonicalize  the same without ASCII punctuation: SigLIP in open_clip
    plain         lower case without ASCII punctuation, single spaces: SigLIP in transformers

Marks such as `<|endoftext|>` that a user writes are text like any other: they cannot end it.

Source: `open_clip.tokenizer`, `transformers.SiglipTokenizer`.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ftfy
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from model.errors import BundleError, EmptyTextError
from model.towers.imported_config import Cleaning

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _whitespace(text: str) -> str:
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _plain(text: str) -> str:
    return " ".join(text.translate(_WITHOUT_PUNCTUATION).lower().split())


CLEANINGS: Mapping[Cleaning, Callable[[str], str]] = {
    "none": lambda text: text,
    "whitespace": _whitespace,
    "lower": lambda text: _whitespace(text).lower(),
    "canonicalize": lambda text: _plain(_whitespace(text).replace("_", " ")),
    "plain": _plain,
}


class TextTokenizer:
    """Texts to the numbers that a text encoder reads. Thread-safe."""

    def __init__(self, file: Path, cleaning: Cleaning, context_length: int, padding: int, *, padded: bool) -> None:
        """Read a `tokenizer.json`. Errors: `BundleError`."""
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises Exception itself
            raise BundleError("bundle_corrupted", f"{file} is no tokenizer: {error}. Restore the bundle.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.encode_special_tokens = True
        self._clean = CLEANINGS[cleaning]
        self._length, self._padding, self._padded = context_length, padding, padded

    def tokens(self, text: str) -> list[int]:
        """The tokens of one text, its marks included. Errors: `EmptyTextError`."""
        cleaned = self._clean(text)
        if not cleaned.strip():
            raise EmptyTextError(text)
        numbers: list[int] = self._tokenizer.encode(cleaned).ids
        return numbers

    def batch(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        """Tokens of n texts to one array (n, T), filled up behind; T: the context length, or the longest text's."""
        longest = self._length if self._padded else max(map(len, texts))
        filled = np.full((len(texts), longest), self._padding, dtype=np.int64)
        for row, numbers in enumerate(texts):
            filled[row, : len(numbers)] = numbers
        return filled
