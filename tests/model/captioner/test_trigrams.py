"""Kneser-Ney trigrams and document frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from model.captioner.scnlm import END, START
from model.captioner.trigrams import KneserNeyTrigrams, document_frequencies, from_arrays, pack, to_arrays

SENTENCES = [[3, 4, 5], [3, 4, 6], [3, 7, 5], [3, 4, 5, 6]]
WORDS = 9


def test_probabilities_add_up_to_one() -> None:
    model = KneserNeyTrigrams.train(SENTENCES, WORDS)
    for context in ([START, START], [START, 3], [3, 4], [8, 8], [5, 3]):
        ngrams = np.array([[*context, word] for word in range(WORDS)])
        assert abs(np.exp(model.lookup(ngrams)).sum() - 1) < 5e-3  # float16


def test_what_was_seen_is_more_fluent() -> None:
    model = KneserNeyTrigrams.train(SENTENCES, WORDS)
    forwards, backwards, short = model.fluency([[3, 4, 5], [5, 4, 3], [3]])
    assert forwards > backwards
    assert short == pytest.approx(model.lookup([[START, START, 3], [START, 3, END]]).mean())
    assert model.fluency([]).shape == (0,)
    assert model.lookup([[3, 4, END]])[0] < 0


def test_frequencies_count_images_once() -> None:
    table = document_frequencies([[[3, 4], [3, 4]], [[3, 4, 3, 4]], [[5]]])
    assert table[pack([[3, 4]])] == [2]
    assert table[pack([[5]])] == [1], "what is rare counts as one"
    assert table[pack([[4, 3]])] == [1]


def test_arrays_and_back() -> None:
    model, frequencies = KneserNeyTrigrams.train(SENTENCES, WORDS), document_frequencies([SENTENCES, SENTENCES])
    again, frequencies_again = from_arrays(to_arrays(model, frequencies))
    assert again.fluency([[3, 8, 5]]) == pytest.approx(model.fluency([[3, 8, 5]]), abs=1e-6)
    assert frequencies_again[pack([[3, 4]])] == [2]
