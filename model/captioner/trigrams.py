"""N-gram statistics of the training captions: how fluent a sentence is, and how telling its n-grams are.

Two tables, both keyed by n-grams packed into 64 bits (15 for each word number, plus one so that shorter n-grams
differ): an interpolated Kneser-Ney trigram model, and the number of images whose captions hold each n-gram of up to
four words.
No caption can be read from either.

Kneser, Ney, "Improved backing-off for M-gram language modeling" (1995); Chen, Goodman (1999), interpolated form.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.captioner.scnlm import END, START

DISCOUNT = 0.75
MAX_ORDER = 4
PREFIX = "ngrams."

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]


def pack(ngrams: npt.ArrayLike) -> Keys:
    """N-grams of word numbers (..., n), n up to 4 and numbers below 2**15, as keys (...)."""
    numbers = np.asarray(ngrams, dtype=np.int64) + 1
    keys = np.zeros(numbers.shape[:-1], dtype=np.int64)
    for place in range(numbers.shape[-1]):
        keys = keys << 15 | numbers[..., place]
    return keys


class Table:
    """A sorted map from n-gram keys to numbers, as two arrays."""

    def __init__(self, keys: Keys, values: npt.NDArray[np.generic], default: float) -> None:
        self.keys, self.values, self.default = keys, values, default

    @classmethod
    def of(cls, values: Mapping[tuple[int, ...], float], default: float, kind: type[np.generic]) -> Table:
        """A table of n-grams of one length or of several."""
        pairs = sorted((int(pack(ngram)), value) for ngram, value in values.items())
        keys = np.array([key for key, _ in pairs], dtype=np.int64)
        return cls(keys, np.array([value for _, value in pairs]).astype(kind), default)

    def __getitem__(self, keys: Keys) -> Floats:
        """The values of keys of any shape; `default` where there is none."""
        if not len(self.keys):
            return np.full(keys.shape, self.default)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.values[places].astype(np.float64), self.default)


class KneserNeyTrigrams:
    """Interpolated Kneser-Ney over word numbers.

        P(w | u v) = (c(u v w) - d)+ / c(u v) + d N(u v .) / c(u v) P(w | v), and so on down to the uniform
        distribution; lower orders count the different words before an n-gram instead of its occurrences.

    Every stored number is the interpolated log-probability or the logarithm of a context's weight, so that looking up
    is one search in each table.
    """

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = dict(tables)

    @classmethod
    def train(cls, sentences: Iterable[Sequence[int]], words: int) -> KneserNeyTrigrams:
        """Count sentences of word numbers, without `START` and `END`; V = `words`."""
        trigrams: Counter[tuple[int, ...]] = Counter()
        for sentence in sentences:
            padded = (START, START, *sentence, END)
            trigrams.update(zip(padded, padded[1:], padded[2:], strict=False))
        bigrams: Counter[tuple[int, ...]] = Counter(ngram[1:] for ngram in trigrams)
        unigrams: Counter[tuple[int, ...]] = Counter(ngram[1:] for ngram in bigrams)
        probability: dict[tuple[int, ...], float] = {}
        backoff: dict[tuple[int, ...], float] = {(): 0.0}
        for counts in (unigrams, bigrams, trigrams):
            totals: defaultdict[tuple[int, ...], int] = defaultdict(int)
            followers: defaultdict[tuple[int, ...], int] = defaultdict(int)
            for ngram, count in counts.items():
                totals[ngram[:-1]] += count
                followers[ngram[:-1]] += 1
            for context, total in totals.items():
                backoff[context] = DISCOUNT * followers[context] / total
            for ngram, count in counts.items():
                context = ngram[:-1]
                lower = probability[ngram[1:]] if len(ngram) > 1 else 1 / words
                probability[ngram] = (count - DISCOUNT) / totals[context] + backoff[context] * lower
        unseen = np.log(backoff[()] / words)
        tables = {
            f"log{order}": Table.of(
                {ngram: float(np.log(p)) for ngram, p in probability.items() if len(ngram) == order},
                float(unseen) if order == 1 else np.nan,
                np.float16,
            )
            for order in (1, 2, 3)
        }
        for order in (1, 2):
            weights = {ngram: float(np.log(weight)) for ngram, weight in backoff.items() if len(ngram) == order}
            tables[f"backoff{order}"] = Table.of(weights, 0.0, np.float16)
        return cls(tables)

    def lookup(self, ngrams: npt.ArrayLike) -> Floats:
        """log P(w | u v) of trigrams (..., 3)."""
        trigrams = np.asarray(ngrams)
        unigram = self.tables["log1"][pack(trigrams[..., 2:])]
        bigram = self.tables["log2"][pack(trigrams[..., 1:])]
        bigram = np.where(np.isnan(bigram), self.tables["backoff1"][pack(trigrams[..., 1:2])] + unigram, bigram)
        trigram = self.tables["log3"][pack(trigrams)]
        lower: Floats = self.tables["backoff2"][pack(trigrams[..., :2])] + bigram
        return np.where(np.isnan(trigram), lower, trigram)

    def fluency(self, sentences: Sequence[Sequence[int]]) -> Floats:
        """Mean log-probability of a word of each sentence, its end included (m,)."""
        if not sentences:
            return np.zeros(0)
        padded = [(START, START, *sentence, END) for sentence in sentences]
        lengths = np.array([len(sentence) + 1 for sentence in sentences])
        log_p = self.lookup(np.concatenate([list(zip(one, one[1:], one[2:], strict=False)) for one in padded]))
        means: Floats = np.add.reduceat(log_p, np.cumsum(lengths) - lengths) / lengths
        return means


def document_frequencies(images: Iterable[Iterable[Sequence[int]]], minimum: int = 2) -> Table:
    """In how many images' captions each n-gram of up to four words stands; rarer ones than `minimum` count as 1."""
    counts: Counter[tuple[int, ...]] = Counter()
    for captions in images:
        counts.update({ngram for caption in captions for ngram in ngrams_of(caption)})
    return Table.of({ngram: count for ngram, count in counts.items() if count >= minimum}, 1.0, np.uint16)


def ngrams_of(sentence: Sequence[int], longest: int = MAX_ORDER) -> list[tuple[int, ...]]:
    """All n-grams of one to `longest` words, repeats included."""
    numbers = tuple(sentence)
    return [
        numbers[start : start + order] for order in range(1, longest + 1) for start in range(len(numbers) - order + 1)
    ]


def to_arrays(model: KneserNeyTrigrams, frequencies: Table) -> dict[str, npt.NDArray[np.generic]]:
    """Both tables as arrays by name, for safetensors."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, table in {**model.tables, "documents": frequencies}.items():
        arrays[f"{PREFIX}{name}.keys"], arrays[f"{PREFIX}{name}.values"] = table.keys, table.values
        arrays[f"{PREFIX}{name}.default"] = np.array([table.default], dtype=np.float32)
    return arrays


def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> tuple[KneserNeyTrigrams, Table]:
    """What `to_arrays` made."""
    names = {name.removeprefix(PREFIX).split(".")[0] for name in arrays if name.startswith(PREFIX)}
    tables = {
        name: Table(
            arrays[f"{PREFIX}{name}.keys"].astype(np.int64, copy=False),
            arrays[f"{PREFIX}{name}.values"],
            float(arrays[f"{PREFIX}{name}.default"][0].item()),
        )
        for name in names
    }
    frequencies = tables.pop("documents")
    return KneserNeyTrigrams(tables), frequencies
