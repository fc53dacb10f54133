"""Small networks in place of EfficientNet-Lite, whose graph takes ten seconds to trace each time it is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def weights_of(name: str) -> dict[str, Tensor]:
    """Weights for a network of timm: at random, the same each time."""
    import timm
    import torch

    torch.manual_seed(1)
    state: dict[str, Tensor] = timm.create_model(name, pretrained=False).state_dict()
    return state


def write_weights(name: str, folder: Path) -> Path:
    """The same as a file, which is returned."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    save_file(weights_of(name), file)
    return file
