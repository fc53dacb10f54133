"""Scores of captions, held to pycocoevalcap's own classes."""

from __future__ import annotations

import contextlib
import io
import random
import warnings

import pytest

from model.evaluation.captions import score_captions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its modules have invalid escapes
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider as TheirCider
    from pycocoevalcap.rouge.rouge import Rouge

WORDS = ["a", "the", "man", "dog", "red", "ball", "runs", "with", "in", "on", "grass", "two", "dogs", "play"]


def test_the_numbers_are_those_of_pycocoevalcap() -> None:
    chance = random.Random(3)  # noqa: S311

    def sentence(shortest: int) -> list[str]:
        return [chance.choice(WORDS) for _ in range(chance.randint(shortest, 12))]

    captions = [sentence(1) for _ in range(40)]
    references = [[sentence(3) for _ in range(chance.randint(1, 5))] for _ in captions]
    ours = score_captions(captions, references)
    results = {number: [" ".join(words)] for number, words in enumerate(captions)}
    truths = {number: [" ".join(words) for words in own] for number, own in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):
        bleus, _ = Bleu(4).compute_score(truths, results)
        rouge, _ = Rouge().compute_score(truths, results)
        cider, _ = TheirCider().compute_score(truths, results)
    assert [ours.bleu1, ours.bleu2, ours.bleu3, ours.bleu4] == pytest.approx([100 * value for value in bleus])
    assert ours.rouge_l == pytest.approx(rouge)
    assert ours.cider == pytest.approx(cider)


def test_perfect_and_hopeless() -> None:
    references = [[["a", "dog", "runs", "on", "grass"]], [["two", "men", "play", "red", "ball"]]]
    perfect = score_captions([own[0] for own in references], references)
    assert perfect.bleu4 == pytest.approx(100)
    assert perfect.cider == pytest.approx(10)
    hopeless = score_captions([["x"], ["x"]], references)
    assert hopeless.cider == 0
    assert hopeless.distinct1 == 0.5
    with pytest.raises(ValueError, match="2 images"):
        score_captions([["x"]], references)
