"""Imported transformers compute the one token that is used in their last block: the same vectors, by less work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clip import VIT, write_clip_folder, write_model, write_siglip_folder

IMAGES: dict[str, tuple[dict[str, Any], bool]] = {
    "class token": ({}, True),
    "normalised when pooled": ({"final_ln_after_pool": True}, True),
    "layer scale": ({"ls_init_value": 0.3}, True),
    "mean": ({"pool_type": "avg"}, False),
    "attention": ({"attentional_pool": True, "attn_pooler_heads": 2}, False),
    "other blocks": ({"block_type": "custom", "qk_norm": True}, False),
}
"""What is set in the image tower, and whether its last block is shortened."""
TEXTS: dict[str, tuple[dict[str, Any], bool]] = {
    "highest token": ({}, True),
    "end token": ({"pool_type": "eos", "eos_id": 49407}, True),
    "last of all": ({"pool_type": "last", "no_causal_mask": True}, True),
    "first": ({"pool_type": "first", "no_causal_mask": True}, False),
    "class token": ({"embed_cls": True}, False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_open_clip(tmp_path: Path, name: str) -> None:
    import torch

    from model.training.importing.open_clip import read_open_clip

    settings, shorter = IMAGES[name]
    source = read_open_clip(*_model(tmp_path, "vision_cfg", settings))
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    _compare(source.image.network, source.image.whole, pixels, shorter)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_open_clip(tmp_path: Path, name: str) -> None:
    from model.training.importing.open_clip import read_open_clip
    from model.training.importing.writing import TEXTS as SAMPLES

    settings, shorter = TEXTS[name]
    source = read_open_clip(*_model(tmp_path, "text_cfg", settings))
    _compare(source.text.network, source.text.whole, source.text.reference(SAMPLES), shorter)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_both_of_transformers(tmp_path: Path, kind: str) -> None:
    import torch

    from model.training.importing.hugging_face import read_hugging_face
    from model.training.importing.writing import TEXTS as SAMPLES

    source = read_hugging_face((write_clip_folder if kind == "clip" else write_siglip_folder)(tmp_path / kind))
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    _compare(source.image.network, source.image.whole, pixels, kind == "clip")
    _compare(source.text.network, source.text.whole, source.text.reference(SAMPLES), True)


def _model(folder: Path, part: str, settings: dict[str, Any]) -> tuple[str, Path]:
    config, weights = write_model(folder, VIT | {part: VIT[part] | settings, "custom_text": True})
    return str(config), weights


def _compare(network: Any, whole: Any, given: Any, shorter: bool) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    products = []
    with torch.inference_mode():
        for one in (network, whole):
            with FlopCounterMode(display=False) as counter:
                vectors = one(given)
            products.append((vectors, counter.get_total_flops()))
    (made, less), (wanted, all_of_them) = products
    assert torch.allclose(made, wanted, atol=1e-5)
    assert less < 0.85 * all_of_them if shorter else less == all_of_them
