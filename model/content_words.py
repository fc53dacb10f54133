"""The words of a sentence that say what is to be seen: without function words, singular and plural as one.

For evaluation (what is right, what was kept) and for calibration: no vector depends on it.
"""

from __future__ import annotations

from model.words import tokenise

_FUNCTION_WORDS = """
a an and another another's any are as at away be been being both by can do does down each for from has have having he
her him his i in into is it its itself just many more near of off on one onto or other others out over she so some
something that the their them there they this through to together toward towards two up upon very while who with
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def content_words(text: str) -> frozenset[str]:
    """The content words of a text, plurals in -s folded onto the singular (*dogs* is *dog*, *grass* is *grass*)."""
    return frozenset(_singular(word) for word in tokenise(text) if word not in FUNCTION_WORDS)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
