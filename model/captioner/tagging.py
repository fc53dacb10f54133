"""Parts of speech: the tagger that training uses, and the small one that a bundle carries.

`tag_captions` runs TextBlob's PatternTagger (extra `train`), whose model ships in its wheel. What it said about the
training captions is condensed into a `TagLexicon`: by word and the tag before it, by word, by ending. So the service
reads the structure of an example sentence without TextBlob, unknown words included.

De Smedt, Daelemans, "Pattern for Python", JMLR 13 (2012); tags of the Penn Treebank.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from model.errors import how_to_install

LONGEST_ENDING = 4
MINIMUM_SHARE = 0.1
"""A tag that a word carries less often than this is an error of the tagger rather than a sense of the word."""


class TaggerUnavailable(Exception):  # noqa: N818 - it names a state, like ModuleNotFoundError
    """TextBlob, which only training needs, is not installed."""


def tag_captions(sentences: Iterable[Sequence[str]]) -> list[list[str]]:
    """The tags of tokenised sentences, one a word. Errors: `TaggerUnavailable`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TextBlob leaves its lexicon's file to the garbage collector
            from textblob.en import tag

            tag("a", tokenize=False)
    except ModuleNotFoundError as error:
        raise TaggerUnavailable(
            f"Training a captioner needs the package {error.name}. {how_to_install('train')}"
        ) from error
    known: dict[str, list[str]] = {}
    tagged: list[list[str]] = []
    for words in sentences:
        text = " ".join(words)
        if text not in known:
            known[text] = [str(pair[1]).split("-")[0] for pair in tag(text, tokenize=False)]
            if len(known[text]) != len(words):
                raise ValueError(f"the tagger does not keep to words in {text!r}")
        tagged.append(known[text])
    return tagged


class TagLexicon(BaseModel):
    """What a bundle knows about parts of speech (`structures.json`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: dict[str, list[str]]
    """Tags that a word carries, the most frequent first."""
    after: dict[str, dict[str, str]]
    """By word, then by the tag before it, where that makes another tag likelier: {"rides": {"NN": "VBZ"}}."""
    endings: dict[str, str]
    """The likeliest tag of an unknown word by its last letters."""
    fallback: str = "NN"

    @classmethod
    def learn(cls, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], minimum: int = 2) -> TagLexicon:
        """Condense tagged sentences. A rule by the tag before or by an ending needs `minimum` witnesses."""
        by_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
        by_pair: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for words, sentence_tags in zip(sentences, tags, strict=True):
            before = ""
            for word, tag in zip(words, sentence_tags, strict=True):
                by_word[word][tag] += 1
                by_pair[word, before][tag] += 1
                before = tag
        lexicon = {word: _frequent(counts) for word, counts in sorted(by_word.items())}
        after: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for (word, before), counts in sorted(by_pair.items()):
            tag, count = _ordered(counts)[0]
            if count >= minimum and tag != lexicon[word][0]:
                after[word][before] = tag
        by_ending: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for word, carried in lexicon.items():
            for length in range(1, min(LONGEST_ENDING, len(word) - 1) + 1):
                by_ending[word[-length:]][carried[0]] += 1
        endings = {
            ending: _ordered(counts)[0][0] for ending, counts in sorted(by_ending.items()) if counts.total() > minimum
        }
        return cls(words=lexicon, after=dict(after), endings=endings)

    def tag(self, words: Sequence[str]) -> list[str]:
        """The tags of a tokenised sentence, one a word; deterministic, for words unknown too."""
        tags: list[str] = []
        before = ""
        for word in words:
            before = self.after.get(word, {}).get(before) or self._alone(word)
            tags.append(before)
        return tags

    def _alone(self, word: str) -> str:
        if word in self.words:
            return self.words[word][0]
        if word.isdigit():
            return "CD"
        for length in range(LONGEST_ENDING, 0, -1):
            if tag := self.endings.get(word[-length:]):
                return tag
        return self.fallback


def agreement(lexicon: TagLexicon, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> float:
    """The share of words that the lexicon tags as `tags` has them."""
    pairs = [
        (ours, theirs)
        for words, sentence_tags in zip(sentences, tags, strict=True)
        for ours, theirs in zip(lexicon.tag(words), sentence_tags, strict=True)
    ]
    return sum(ours == theirs for ours, theirs in pairs) / max(1, len(pairs))


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _frequent(counts: Counter[str]) -> list[str]:
    return [tag for tag, count in _ordered(counts) if count >= MINIMUM_SHARE * counts.total()]
