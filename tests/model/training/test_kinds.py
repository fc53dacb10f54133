"""The backbone's own kinds of things as training pairs."""

from __future__ import annotations

import numpy as np
import pytest

from model.words import Vocabulary, tokenise


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global COUNT, Kinds, kind_names, torch
    import torch

    from model.training.space.kinds import COUNT, Kinds, kind_names


def test_every_kind_has_a_plain_name_first() -> None:
    names = kind_names()
    assert len(names) == COUNT
    assert all(kind and all(name == name.strip() and name for name in kind) for kind in names)
    assert "goldfish" in [kind[0] for kind in names]
    assert not any("(" in name for kind in names for name in kind)


def test_made_features_are_of_their_kind_before_any_background() -> None:
    torch.manual_seed(0)
    features = torch.rand(300, 1, 64).half().numpy()
    classifier = torch.nn.Linear(64, COUNT)
    with torch.no_grad():
        classifier.weight.mul_(20)
    words = (word for names in kind_names() for name in names for word in tokenise(name))
    vocabulary = Vocabulary(list(dict.fromkeys([*words, "a", "photo", "of", "the"])))
    kinds = Kinds.learn(features, classifier, vocabulary)
    backgrounds = torch.from_numpy(features[:50, 0].astype(np.float32))

    made, sentences = kinds.draw(200, backgrounds, torch.Generator().manual_seed(3))
    again, same = kinds.draw(200, backgrounds, torch.Generator().manual_seed(3))

    torch.testing.assert_close(made, again)
    assert sentences == same
    assert made.shape == (200, 64)
    assert made.min() >= 0
    assert all(sentences)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))[:200]
    with torch.no_grad():
        raised = classifier(made)[torch.arange(200), order] - classifier(backgrounds).mean(0)[order]
    assert (raised > 0).float().mean() > 0.95
