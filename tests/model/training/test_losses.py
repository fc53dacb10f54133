"""The losses against plain loops over their formulas."""

from __future__ import annotations

import math

import pytest


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global Tensor, contrastive_loss, pairwise_ranking_loss, torch
    import torch
    from torch import Tensor

    from model.training.space.losses import contrastive_loss, pairwise_ranking_loss


OWNER = [0, 0, 1, 2, 2, 2]


def _owner() -> Tensor:
    return torch.tensor(OWNER)


def _unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 5, generator=generator), dim=1)


@pytest.mark.parametrize("negatives", ["sum", "hardest"])
def test_ranking_loss_is_the_papers_formula_with_same_image_captions_masked(negatives: str) -> None:
    images, sentences = _unit(3, 1), _unit(6, 2)
    expected = []
    for j, own in enumerate(OWNER):
        positive = float(images[own] @ sentences[j])
        by_sentence = [
            max(0.0, 0.2 - positive + float(images[own] @ sentences[k])) for k in range(6) if OWNER[k] != own
        ]
        by_image = [max(0.0, 0.2 - positive + float(images[k] @ sentences[j])) for k in range(3) if k != own]
        combine = sum if negatives == "sum" else max
        expected.append(combine(by_sentence) + combine(by_image))
    loss = pairwise_ranking_loss(images, sentences, _owner(), 0.2, negatives)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(sum(expected) / 6, abs=1e-5)


def test_contrastive_loss_is_infonce_with_same_image_captions_masked() -> None:
    images, sentences, temperature = _unit(3, 1), _unit(6, 2), 0.1

    def score(image: Tensor, sentence: Tensor) -> float:
        return math.exp(float(image @ sentence) / temperature)

    expected = 0.0
    for j, own in enumerate(OWNER):
        positive = score(images[own], sentences[j])
        by_image = sum(score(images[k], sentences[j]) for k in range(3) if k != own)
        by_sentence = sum(score(images[own], sentences[k]) for k in range(6) if OWNER[k] != own)
        expected -= math.log(positive / (positive + by_image)) + math.log(positive / (positive + by_sentence))
    loss = contrastive_loss(images, sentences, _owner(), temperature)
    assert loss.item() == pytest.approx(expected / 6 / 2, rel=1e-4)


def test_both_losses_fall_when_captions_move_to_their_images() -> None:
    images = _unit(3, 1)
    far, near = _unit(6, 2), images[OWNER]
    assert pairwise_ranking_loss(images, near, _owner()) < pairwise_ranking_loss(images, far, _owner())
    assert contrastive_loss(images, near, _owner()) < contrastive_loss(images, far, _owner())


def test_gradients_stay_finite_where_a_vector_is_zero() -> None:
    images = _unit(3, 1).requires_grad_()
    loss = contrastive_loss(images, torch.zeros(6, 5), _owner()) + pairwise_ranking_loss(
        images, torch.zeros(6, 5), _owner()
    )
    loss.backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
