"""What every training loop does: steps, learning rate, average of the weights, checkpoints, random numbers.

A loop is plain:

    run = TrainingRun(model.parameters(), optimizer, steps, average, checkpoint, clip_norm)
    for step in range(run.finished, steps):
        generator = seed_step(seed, "stage", step)
        loss = ...
        run.step(loss)
    run.finish()

Every step seeds its own random numbers, and the learning rate is a function of the step. So a run that was killed and
resumed from a checkpoint takes the same steps as one that was not.

Checkpoints are without pickle: tensors in a safetensors file, replaced atomically.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

CHECKPOINT_SECONDS = 60.0
WARM_UP_SHARE = 0.1


class TrainingRun:
    """Parameters in training by an optimizer for a number of steps, of which `finished` are finished.

    It goes on from the file `checkpoint` if there is one, and writes to it now and then. Every group of the optimizer
    starts with its own peak learning rate. `average`: decay of the moving average of the parameters, which they get at
    the end; 0 leaves them as they are. `clip_norm`: the largest norm of the gradient of each group.
    """

    def __init__(
        self,
        trained: Iterable[nn.Parameter],
        optimizer: Optimizer,
        steps: int,
        average: float,
        checkpoint: Path,
        clip_norm: float,
    ) -> None:
        self._trained = nn.ParameterList(trained)
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._average = AveragedModel(
            self._trained,
            # The first steps count little: the average soon forgets where training began.
            avg_fn=lambda mean, new, count: mean.lerp(new, 1 - min(average, (1 + float(count)) / (10 + float(count)))),
        )
        self._checkpoint = checkpoint
        self.finished = self._load() if checkpoint.exists() else 0
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._scheduler = LambdaLR(optimizer, lambda step: rate_factor(step, steps), last_epoch=self.finished - 1)
        self._saved = time.monotonic()

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of a loss, and write a checkpoint if it is time."""
        self._optimizer.zero_grad()
        loss.backward()
        for group in self._optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], self._clip_norm)
        self._optimizer.step()
        self._average.update_parameters(self._trained)
        self._scheduler.step()
        self.finished += 1
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self._save()
            self._saved = time.monotonic()

    @torch.no_grad()
    def finish(self) -> None:
        """Give the parameters their averaged values."""
        for parameter, mean in zip(self._trained, self._average.module.parameters(), strict=True):
            parameter.copy_(mean)

    def _load(self) -> int:
        tensors = load_file(self._checkpoint)

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self._trained.load_state_dict(under("trained."))
        self._average.load_state_dict(under("average."))
        _restore_optimizer(self._optimizer, under("optimizer."))
        return int(tensors["finished"])

    def _save(self) -> None:
        tensors = {"finished": torch.tensor(self.finished)}
        tensors |= {f"trained.{name}": tensor for name, tensor in self._trained.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in _optimizer_tensors(self._optimizer).items()}
        save_tensors(tensors, self._checkpoint)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file; a kill at any moment leaves the earlier file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    # Weights of convolutions may lie channels last in memory; a file wants them in the order of their shape.
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine down to one hundredth."""
    warm_up = max(1, int(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


def seeded(*parts: object) -> torch.Generator:
    """A generator whose numbers depend on all of the parts and on nothing else."""
    digest = 0
    for character in repr(parts):
        digest = (digest * 1_000_003 + ord(character)) % (2**63)
    return torch.Generator().manual_seed(digest)


def seed_step(*parts: object) -> torch.Generator:
    """`seeded`, and the global generator with it, which dropout draws from."""
    generator = seeded(*parts)
    torch.manual_seed(generator.initial_seed())
    return generator


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors (`place.name`), by each parameter's place."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{name}": value for place, entry in state.items() for name, value in entry.items()}


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `_optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
