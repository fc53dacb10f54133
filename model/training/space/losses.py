"""Losses that pull an image and its captions together in the joint space.

Both take unit vectors and know which image each caption belongs to, so that captions of one image never serve as each
other's contrast (a trap of the authors' release).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def pairwise_ranking_loss(
    images: Tensor,
    sentences: Tensor,
    owner: Tensor,
    margin: float = 0.2,
    negatives: Literal["sum", "hardest"] = "sum",
) -> Tensor:
    """The paper's loss, over the pairs of a batch.

        sum_x sum_k max(0, margin - s(x, v) + s(x, v_k))  +  sum_v sum_k max(0, margin - s(v, x) + s(v, x_k))

    `images` (n, D) and `sentences` (m, D): unit rows; `owner` (m,): the row of each sentence's image. Returns a scalar,
    the mean over the m pairs. `hardest` keeps only the worst contrast of each (VSE++, Faghri et al. 2017).
    Source: Kiros et al. 2014, equation of the encoder.
    """
    scores = sentences @ images.T  # (m, n)
    own = torch.zeros_like(scores, dtype=torch.bool)
    own[torch.arange(len(owner), device=scores.device), owner] = True
    positive = scores.gather(1, owner[:, None])  # (m, 1)
    against_images = (margin - positive + scores).clamp(min=0).masked_fill(own, 0.0)  # (m, n)
    # For sentence j and another sentence k, the contrast is k against j's image.
    against_sentences = (margin - positive + scores[:, owner].T).clamp(min=0)  # (m, m): [j, k]
    against_sentences = against_sentences.masked_fill(owner[:, None] == owner[None, :], 0.0)
    if negatives == "hardest":
        return (against_images.amax(1) + against_sentences.amax(1)).mean()
    return (against_images.sum(1) + against_sentences.sum(1)).mean()


def contrastive_loss(images: Tensor, sentences: Tensor, owner: Tensor, temperature: float = 0.05) -> Tensor:
    """InfoNCE in both directions, same-image captions masked; a scalar.

    `images` (n, D), `sentences` (m, D): unit rows; `owner` (m,): the row of each sentence's image.
    Source: van den Oord et al. 2018, and Radford et al. 2021 for the symmetric form.
    """
    scores = sentences @ images.T / temperature  # (m, n)
    positive = scores.gather(1, owner[:, None])[:, 0]  # (m,)
    own = owner[:, None] == torch.arange(len(images), device=scores.device)[None, :]  # (m, n)
    of_images = scores.masked_fill(own, -torch.inf)  # contrasts only
    of_sentences = scores.T.masked_fill(own.T, -torch.inf)  # (n, m)
    # Each positive against the contrasts alone: log(1 + exp(logsumexp(contrasts) - positive)).
    to_image = functional.softplus(of_images.logsumexp(dim=1) - positive)
    to_sentence = functional.softplus(of_sentences.logsumexp(dim=1)[owner] - positive)
    return (to_image.mean() + to_sentence.mean()) / 2
