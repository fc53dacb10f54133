"""The words that name what an image shows, where an imported text encoder embeds them."""

from __future__ import annotations

from pathlib import Path

from model.bundle import Bundle, shipped_bundle
from model.content_words import FUNCTION_WORDS
from model.towers.config import VOCABULARY
from model.training.importing.source import ImportingError


def concept_words(file: Path | None) -> list[str]:
    """Those of a file, one a line; None: the words of captions that the shipped bundle knows.

    Errors: `ImportingError`.
    """
    if file is None:
        known = (shipped_bundle() / VOCABULARY).read_text(encoding="utf-8").splitlines()
        grounded = Bundle.load_config(shipped_bundle()).words.grounded_words
        return [word for word in known[:grounded] if word not in FUNCTION_WORDS and word.isalpha()]
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ImportingError(f"The words of {file} cannot be read: {error}. Write one a line, in UTF-8.") from error
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        raise ImportingError(f"There are no words in {file}. Write one a line, in UTF-8.")
    return words
