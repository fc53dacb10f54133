"""Batch norms folded into convolutions: the same function, the same gradients."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global FoldedBackbone, nn, timm, torch
    import timm
    import torch
    from torch import nn

    from model.training.space.batch_norm_folding import FoldedBackbone


NETWORKS = {
    "tf_efficientnet_lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0),
    "resnet18": lambda: timm.create_model("resnet18", pretrained=False, num_classes=0),
    "without batch norms": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten()
    ),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_folded_network_is_the_network(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.1)
    folded = FoldedBackbone(network, 64)
    pixels = torch.randn(2, 3, 64, 64)

    def gradients(features: torch.Tensor) -> list[torch.Tensor]:
        network.zero_grad()
        features.square().sum().backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    plain, quick = network(pixels), folded(pixels)
    torch.testing.assert_close(plain, quick, atol=1e-4, rtol=1e-3)
    wanted, got = gradients(plain), gradients(quick)
    assert len(wanted) == len(got) > 0
    for first, second in zip(wanted, got, strict=True):
        torch.testing.assert_close(first, second, atol=1e-3 * float(first.abs().max() + 1e-3), rtol=1e-2)
