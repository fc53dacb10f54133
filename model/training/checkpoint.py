"""What a training run keeps beside its model: an average of the parameters, and checkpoints to go on from.

Checkpoints are without pickle: tensors in a safetensors file, counters in its metadata, replaced atomically.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

CHECKPOINT_SECONDS = 60.0


class AveragedRun:
    """A model in training by an optimizer: averages its `trained` parameters, and keeps all of it in `checkpoint`."""

    def __init__(
        self, model: nn.Module, trained: Mapping[str, nn.Parameter], optimizer: Optimizer, checkpoint: Path
    ) -> None:
        self._model = model
        self._trained = trained
        self._optimizer = optimizer
        self._checkpoint = checkpoint
        self._average = {name: parameter.detach().clone() for name, parameter in trained.items()}
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Put the checkpoint back, if there is one; returns how many steps are finished."""
        if not self._checkpoint.exists():
            return 0
        tensors, counters = load_checkpoint(self._checkpoint)

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self._model.load_state_dict(under("model."))
        for name, tensor in under("average.").items():
            self._average[name].copy_(tensor)
        restore_optimizer(self._optimizer, under("optimizer."))
        return int(counters["step"])

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Move the average towards the parameters: 0 makes it the parameters, 1 leaves it as it is."""
        for name, parameter in self._trained.items():
            self._average[name].lerp_(parameter, 1 - decay)

    def keep(self, finished: int) -> None:
        """Write a checkpoint of so many finished steps, if it is time to."""
        if time.monotonic() - self._saved <= CHECKPOINT_SECONDS:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self._optimizer).items()}
        save_checkpoint(self._checkpoint, tensors, {"step": finished})
        self._saved = time.monotonic()

    @torch.no_grad()
    def finish(self) -> None:
        """Give the model the averaged parameters."""
        for name, parameter in self._trained.items():
            parameter.copy_(self._average[name])


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able counters; a kill at any moment leaves the earlier checkpoint or the new one."""
    temporary = path.with_suffix(".partial")
    contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(contiguous, temporary, metadata={"counters": json.dumps(dict(counters))})
    temporary.replace(path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote: tensors and counters."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        counters: dict[str, Any] = json.loads(file.metadata()["counters"])
    return tensors, counters


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as named tensors (`place.name`), by each parameter's place."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{name}": value for place, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
