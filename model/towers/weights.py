"""Reading the weights of a tower out of the file that towers of a bundle share."""

from __future__ import annotations

from safetensors import safe_open
from torch import nn

from model.bundle import Bundle
from model.errors import BundleError
from model.towers.config import ENCODERS


def load_weights(module: nn.Module, bundle: Bundle, prefix: str) -> None:
    """Fill a module from the tensors whose names begin with `prefix`; it learns nothing any more.

    Errors: `BundleError` where they are not those of its configuration.
    """
    file = bundle.path / ENCODERS
    with safe_open(file, framework="pt") as stored:
        names = [name for name in stored.keys() if name.startswith(prefix)]  # noqa: SIM118 - it is no dictionary
        weights = {name.removeprefix(prefix): stored.get_tensor(name) for name in names}
    try:
        module.load_state_dict(
            {name: weight.float() if weight.is_floating_point() else weight for name, weight in weights.items()}
        )
    except RuntimeError as error:
        raise BundleError("bundle_corrupted", f"{file} does not fit its configuration: {error}") from error
    module.eval().requires_grad_(False)
