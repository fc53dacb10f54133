"""Choosing the likeliest words."""

from __future__ import annotations

import numpy as np
import pytest

from model.captioner.decoding import _largest
from model.captioner.grammar import FORBIDDEN


@pytest.mark.parametrize("count", [3, 40, 511, 512, 5877])
@pytest.mark.parametrize("k", [1, 2, 8])
def test_the_largest_of_each_row_are_those_that_sorting_finds(count: int, k: int) -> None:
    values = np.random.default_rng(count + k).normal(size=(9, count)).astype(np.float32)
    values[1, -1] = values[2, 0] = 9  # where parts begin and end
    values[3] = FORBIDDEN  # nothing may be written
    values[4] = FORBIDDEN
    values[4, count // 2] = -3  # less than k may
    values[5] = 1  # all the same
    places, best = _largest(values, k)
    assert places.shape == best.shape == (9, min(k, count))
    assert np.array_equal(np.sort(best), np.sort(values)[:, -k:])
    allowed = best > FORBIDDEN
    assert np.array_equal(np.take_along_axis(values, places, axis=1)[allowed], best[allowed])
    for row in range(9):  # no place twice
        assert len(set(places[row][allowed[row]].tolist())) == allowed[row].sum()
