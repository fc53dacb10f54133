"""The blocks of transformers, so that the last one computes no more than is used.

A vector is made of one token's output: the first of an image, the end of a text. In the last block, queries and the
perceptron are needed for that token alone. It saves 10 of the block's 12 products, a fifteenth of twelve blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Place = tuple[Any, Any]
"""The index of one token in each row of (n, T, D): the rows, and the token's place in each."""


def open_clip_token(blocks: Iterable[Any], states: Tensor, place: Place, mask: Tensor | None = None) -> Tensor:
    """Through each `ResidualAttentionBlock` of open_clip: (n, T, D) to the states of one token, (n, D).

    `mask` (T, T) is added to the weights of attention; None where every token looks at all others.
    """
    *others, last = blocks
    for block in others:
        states = block(states, attn_mask=mask)
    seen = last.ln_1(states)
    if mask is not None:  # the row of the token, for each head
        mask = mask[place[1]].unsqueeze(1).repeat_interleave(last.attn.num_heads, 0)
    mixed = last.attention(seen[place].unsqueeze(1), seen, seen, mask)
    token = states[place].unsqueeze(1) + last.ls_1(mixed)
    token = token + last.ls_2(last.mlp(last.ln_2(token)))
    whole: Tensor = token.squeeze(1)
    return whole


def transformers_token(layers: Iterable[Any], states: Tensor, place: Place, mask: Tensor | None = None) -> Tensor:
    """Through each layer of CLIP or SigLIP in transformers: (n, T, D) to the states of one token, (n, D).

    `mask` (T, T) says which tokens each may look at; None: all.
    """
    *others, last = layers
    for layer in others:
        states = _layer(layer, states, states, mask)
    token = states[place].unsqueeze(1)
    return _layer(last, token, states, None if mask is None else mask[place[1]][:, None, None]).squeeze(1)


def _layer(layer: Any, tokens: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
    """Some tokens (n, t, D) of a layer, which look at all its states (n, T, D)."""
    attention, seen = layer.self_attn, layer.layer_norm1(states)
    asking = seen if tokens is states else layer.layer_norm1(tokens)
    query, key, value = (
        project(source).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project, source in ((attention.q_proj, asking), (attention.k_proj, seen), (attention.v_proj, seen))
    )
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    tokens = tokens + attention.out_proj(mixed)
    whole: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return whole
