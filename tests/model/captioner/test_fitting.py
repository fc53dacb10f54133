"""What is fitted on the candidates of development images."""

from __future__ import annotations

import numpy as np
import pytest

from model.captioner.captioner import CONFIDENCE_FEATURES, Pool
from model.captioner.ranking import FEATURES


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global confidence_inputs, first_places, fit_confidence, fit_ranking
    from model.training.captioner.ranking import confidence_inputs, first_places, fit_confidence, fit_ranking


def _pool(*similarities: float) -> Pool:
    features = np.zeros((len(similarities), len(FEATURES)))
    features[:, FEATURES.index("similarity")] = similarities
    return Pool(
        [(number,) for number in range(len(similarities))], features, 0.5, np.zeros(len(similarities), np.int64)
    )


def test_an_image_without_candidates_counts_for_nothing() -> None:
    pools = [_pool(0.1, 0.9, 0.2), _pool(), _pool(0.3)]
    ranking = fit_ranking(pools, [[0.0, 1.0, 0.0], [], [0.5]])
    first = first_places(pools, ranking)
    assert first == {0: 1, 2: 0}
    inputs = confidence_inputs(pools, first)
    assert inputs[:, CONFIDENCE_FEATURES.index("similarity")].tolist() == [0.9, 0.3]
    assert confidence_inputs([_pool()], {}).shape == (0, len(CONFIDENCE_FEATURES))
    fitted = fit_confidence(inputs, np.array([True, False]), inputs[:0])
    assert fitted["similarity"] > 0
