"""Written captions as people read them.

The captioner writes lower-case words without punctuation; `as_sentence` is the one place where they become a sentence:
a capital at the beginning, a full stop at the end, and capitals for words that are always written with one.
"""

from __future__ import annotations

import re

_ALWAYS_CAPITAL_WORDS = """
afghan african alaskan american arabian asian australian bernese boston brittany brussels chesapeake chihuahua chinese
christmas dane dutch egyptian english european french german halloween ibizan indian irish italian japanese labrador
lapland maltese mexican newfoundland norfolk norwegian norwich pekinese persian pomeranian pyrenees rhodesian rottweiler
russian saharan santa scottish shetland siamese siberian spanish staffordshire sussex swiss tibetan weimaraner welsh
yorkshire
"""
_ALWAYS_CAPITAL = frozenset(_ALWAYS_CAPITAL_WORDS.split())
_UPPER = {"atm": "ATM", "cd": "CD", "i": "I", "tv": "TV", "t-shirt": "T-shirt", "t-shirts": "T-shirts"}
_ENDS = (".", "!", "?", "…")


def as_sentence(text: str) -> str:
    """A caption for display: *a cat sits on a rug* is *A cat sits on a rug.*; an empty one stays empty."""
    words = [_UPPER.get(word, word.capitalize() if word in _ALWAYS_CAPITAL else word) for word in text.split()]
    if not words:
        return ""
    written = " ".join(words)
    written = re.sub(r"^\w", lambda first: first.group().upper(), written)
    return written if written.endswith(_ENDS) else f"{written}."
