"""Tiny models of open_clip with random weights, and bundles made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.towers.imported_config import Prompts
from model.training.importing.open_clip import read_open_clip
from model.training.importing.writing import write_imported
from tests.words import WORDS

VIT: dict[str, Any] = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def write_model(folder: Path, settings: dict[str, Any] = VIT, seed: int = 0) -> tuple[Path, Path]:
    """A configuration and weights as open_clip writes them: the two files."""
    import open_clip

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    config, weights = folder / "tiny.json", folder / "weights.safetensors"
    config.write_text(json.dumps(settings))
    built = {name: value for name, value in settings.items() if name != "custom_text"}
    network = (open_clip.CustomTextCLIP if settings.get("custom_text") else open_clip.CLIP)(**built)
    save_file({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, weights)
    return config, weights


def write_clip(folder: Path) -> Path:
    """A bundle of the tiny ViT, with concepts and a prompt."""
    config, weights = write_model(folder.with_name("model"))
    words = list(dict.fromkeys(WORDS.split()))
    prompts = Prompts(operand=("a photo of a {}",))
    write_imported(read_open_clip(str(config), weights), folder, words=words, prompts=prompts)
    return folder
