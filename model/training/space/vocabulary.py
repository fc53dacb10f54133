"""Which words a bundle knows: those of the training captions, of the kinds' names, of things, and frequent ones."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable

from wordfreq import top_n_list, zipf_frequency

from model.words import Vocabulary, tokenise

_PLAIN = re.compile(r"[a-z]+")


def choose_words(seen: Iterable[str], names: Iterable[str], size: int) -> Vocabulary:
    """A vocabulary of `size` words (more only where `seen` and `names` hold more), the seen ones first.

    `seen`: words of the training captions; `names`: of kinds of things. Then come, in turn by how often English uses
    them, frequent words (wordfreq) and words for things that can be photographed (the WordNet nouns of ImageNet,
    listed in timm).
    """
    words = dict.fromkeys(seen)
    words.update(dict.fromkeys(token for name in names for token in tokenise(name)))
    frequent = [word for word in top_n_list("en", 2 * size) if _PLAIN.fullmatch(word)]
    things = {token for name in _names_of_things() for token in tokenise(name) if _PLAIN.fullmatch(token)}
    # Words for things are rarer than a plain list of frequent words reaches; a fifth of the places is theirs.
    words.update(dict.fromkeys(frequent[: int(0.8 * size)]))
    for word in sorted(things, key=lambda word: (-zipf_frequency(word, "en"), word)) + frequent:
        if len(words) >= size:
            break
        words.setdefault(word)
    return Vocabulary(list(words))


def _names_of_things() -> list[str]:
    lines = importlib.resources.files("timm.data") / "_info" / "imagenet_synset_to_lemma.txt"
    return [line.partition("\t")[2] for line in lines.read_text(encoding="utf-8").splitlines()]
