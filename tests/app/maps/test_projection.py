"""The plane of a map: the two axes along which its points differ most."""

from __future__ import annotations

import numpy as np
import pytest

from app.maps.projection import _principal_axes


@pytest.mark.parametrize("count", [1, 2, 3, 40, 64, 200])
def test_the_axes_are_those_of_the_singular_values(count: int) -> None:
    rows = np.random.default_rng(7).normal(size=(count, 64)) * np.linspace(1.0, 0.1, 64)
    _, values, expected = np.linalg.svd(rows, full_matrices=False)
    axes, lengths = _principal_axes(np.array_split(rows, 3), few=count < 64)
    assert axes.shape == (min(count, 2), 64)
    np.testing.assert_allclose(np.abs(np.sum(axes * expected[:2], axis=1)), 1.0, atol=1e-9)
    np.testing.assert_allclose(lengths[: len(values)], values**2, rtol=1e-9, atol=1e-9)


def test_what_does_not_differ_lies_at_zero() -> None:
    line = np.outer([1.0, 2.0, -3.0], np.random.default_rng(7).normal(size=64))
    axes, lengths = _principal_axes([line], few=True)
    assert lengths[1] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(line @ axes[1], 0.0, atol=1e-6)
    assert not _principal_axes([np.zeros((3, 64))], few=True)[1].any()
