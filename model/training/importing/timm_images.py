"""Networks of timm as it publishes them: a folder of `config.json` and weights, without a text encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from model.runtime.torch_imported import build_timm
from model.towers.imported_config import Architecture, ImportedImageConfig, Pixels
from model.training.importing.source import ImageSource, ImportingError, load_weights, read_weights, settings_of

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def read_timm_images(folder: Path, published: Mapping[str, Any]) -> ImageSource:
    """Read a folder whose `config.json` says `published`. Errors: `ImportingError`."""
    architecture, arguments = published.get("architecture"), published.get("model_args") or {}
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise ImportingError(f"There are no weights in {folder}. Download the model's {WEIGHTS[0]} into it.")
    settings: dict[str, Any] = {"architecture": architecture}
    if arguments:
        settings["model_args"] = arguments
    file = folder / "config.json"
    with settings_of("the network", file):
        network: Any = build_timm(settings)
    with settings_of("images", file):
        preparation = network.pretrained_cfg | (published.get("pretrained_cfg") or {})
        pixels, reference = _preprocessing(preparation, file)
    _load(network, found[0], preparation, str(architecture))
    config = ImportedImageConfig(architecture=Architecture(library="timm", settings=settings), pixels=pixels)
    network = network.eval().requires_grad_(False)
    return ImageSource(config, network, reference, network)


def _load(network: nn.Module, file: Path, preparation: Mapping[str, Any], architecture: str) -> None:
    """The weights without the classifier, which no vector depends on."""
    classifier = preparation.get("classifier") or ()
    heads = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    own = network.state_dict()
    tensors = {
        name: tensor for name, tensor in read_weights(file).items() if name in own or not name.startswith(heads or "\0")
    }
    load_weights(network, tensors, file, architecture)
    network.float()


def _preprocessing(preparation: dict[str, Any], file: Path) -> tuple[Pixels, Callable[[Sequence[Image.Image]], Tensor]]:
    """How pixels are prepared, in Visem's terms and by timm itself."""
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    chosen = resolve_data_config(pretrained_cfg=preparation)
    transform: Any = create_transform(**chosen, is_training=False)
    _, height, width = chosen["input_size"]
    mode, share = chosen["crop_mode"], chosen["crop_pct"]
    if mode == "border" or (mode == "squash" and share != 1):
        raise ImportingError(
            f"{file} cuts images with crop_mode {mode!r} and crop_pct {share}, which Visem cannot do. Choose another "
            "model."
        )
    pixels = Pixels(
        height=height,
        width=width,
        resize="squash" if mode == "squash" else "shortest",
        shorter=None if mode == "squash" else math.floor(height / share),
        interpolation=chosen["interpolation"],
        mean=chosen["mean"],
        std=chosen["std"],
    )
    return pixels, lambda images: torch.stack([transform(image) for image in images])
