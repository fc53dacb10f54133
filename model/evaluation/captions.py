"""Automatic scores of captions: BLEU, ROUGE-L, CIDEr, and how varied they are.

Sentences are sequences of tokens, of any hashable kind. The numbers are those of `pycocoevalcap`'s classes `Bleu`,
`Rouge` and `Cider` on the same tokens (a test holds them together), without the packages that it needs.

Papineni et al., "BLEU" (ACL 2002); Lin, "ROUGE" (2004); Vedantam, Zitnick, Parikh, "CIDEr" (CVPR 2015): what is
computed everywhere under that name is its variant CIDEr-D.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

Tokens = Sequence[Hashable]
Ngram = tuple[Hashable, ...]

MAX_ORDER = 4
ROUGE_BETA = 1.2
CIDER_SIGMA = 6.0
# The constants of pycocoevalcap, which keep an order without a match from making everything zero.
_TINY, _SMALL = 1e-15, 1e-9


@dataclass(frozen=True)
class CaptionScores:
    """BLEU in percent, ROUGE-L and CIDEr as they are usually given (1.0 is a good CIDEr), shares from 0 to 1."""

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    rouge_l: float
    cider: float
    distinct1: float
    distinct2: float

    def to_json(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


def score_captions(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> CaptionScores:
    """Scores of one caption for each image against its references. ValueError if they are not equally many."""
    if len(captions) != len(references) or not captions:
        raise ValueError(f"There are {len(captions)} captions for the references of {len(references)} images.")
    bleus = bleu(captions, references)
    cider = Cider.of_references(references)
    pairs = list(zip(captions, references, strict=True))
    bleu1, bleu2, bleu3, bleu4 = (100 * value for value in bleus)
    return CaptionScores(
        bleu1=bleu1,
        bleu2=bleu2,
        bleu3=bleu3,
        bleu4=bleu4,
        rouge_l=sum(rouge_l(caption, own) for caption, own in pairs) / len(pairs),
        cider=sum(cider.score(caption, [cider.vector(one) for one in own]) for caption, own in pairs) / len(pairs),
        distinct1=distinct(captions, 1),
        distinct2=distinct(captions, 2),
    )


def ngrams(tokens: Tokens, order: int) -> Iterable[Ngram]:
    """The n-grams of one order, repeats included."""
    return (tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def bleu(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[float]:
    """BLEU-1 to BLEU-4 of a corpus, from 0 to 1, with the closest reference's length."""
    correct, guessed = [0] * MAX_ORDER, [0] * MAX_ORDER
    length = reference_length = 0
    for caption, own in zip(captions, references, strict=True):
        length += len(caption)
        reference_length += min((abs(len(one) - len(caption)), len(one)) for one in own)[1]
        for order in range(1, MAX_ORDER + 1):
            most: Counter[Ngram] = Counter()
            for one in own:
                most |= Counter(ngrams(one, order))
            guessed[order - 1] += max(0, len(caption) - order + 1)
            correct[order - 1] += sum((Counter(ngrams(caption, order)) & most).values())
    ratio = (length + _TINY) / (reference_length + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for order in range(MAX_ORDER):
        product *= (correct[order] + _TINY) / (guessed[order] + _SMALL)
        scores.append(product ** (1 / (order + 1)) * penalty)
    return scores


def rouge_l(caption: Tokens, references: Sequence[Tokens]) -> float:
    """F-measure of the longest common subsequence, of the best precision and the best recall."""
    lengths = [_common_subsequence(caption, one) for one in references]
    precision = max(lengths) / max(1, len(caption))
    recall = max(length / max(1, len(one)) for length, one in zip(lengths, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def distinct(captions: Sequence[Tokens], order: int) -> float:
    """Different n-grams among all n-grams of the captions."""
    found = [ngram for caption in captions for ngram in ngrams(caption, order)]
    return len(set(found)) / max(1, len(found))


@dataclass(frozen=True)
class CiderVector:
    """A sentence's tf-idf weights for each order, their norms, and its length in bigrams."""

    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]
    length: int


class Cider:
    """CIDEr-D with document frequencies of one's choice: those of the references, or of a training set."""

    def __init__(self, frequency: Callable[[Ngram], float], images: int) -> None:
        self._frequency = frequency
        self._log_images = math.log(max(1, images))

    @classmethod
    def of_references(cls, references: Sequence[Iterable[Tokens]]) -> Cider:
        """With the frequencies of these references: in how many images' references an n-gram stands."""
        counts: Counter[Ngram] = Counter()
        for own in references:
            counts.update({ngram for one in own for order in range(1, MAX_ORDER + 1) for ngram in ngrams(one, order)})
        known: Mapping[Ngram, int] = counts
        return cls(lambda ngram: known.get(ngram, 0), len(references))

    def vector(self, tokens: Tokens) -> CiderVector:
        """Weigh a sentence's n-grams."""
        weights, norms = [], []
        for order in range(1, MAX_ORDER + 1):
            counted = {
                ngram: count * (self._log_images - math.log(max(1.0, self._frequency(ngram))))
                for ngram, count in Counter(ngrams(tokens, order)).items()
            }
            weights.append(counted)
            norms.append(math.sqrt(sum(weight * weight for weight in counted.values())))
        return CiderVector(tuple(weights), tuple(norms), max(0, len(tokens) - 1))

    def score(self, caption: Tokens, references: Sequence[CiderVector]) -> float:
        """Ten times the mean similarity to the references."""
        own = self.vector(caption)
        return 10 * sum(_similarity(own, one) for one in references) / max(1, len(references))


def _similarity(caption: CiderVector, reference: CiderVector) -> float:
    total = 0.0
    for mine, theirs, norm, other in zip(
        caption.weights, reference.weights, caption.norms, reference.norms, strict=True
    ):
        shared = sum(min(weight, theirs[ngram]) * theirs[ngram] for ngram, weight in mine.items() if ngram in theirs)
        if norm and other:
            shared /= norm * other
        total += shared
    return total / MAX_ORDER * math.exp(-((caption.length - reference.length) ** 2) / (2 * CIDER_SIGMA**2))


def _common_subsequence(first: Tokens, second: Tokens) -> int:
    lengths = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if one == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]
