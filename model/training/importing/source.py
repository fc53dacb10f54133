"""What is read of another library's files: two encoders, and all that they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.errors import ModelError
from model.towers.imported_config import ImportedImageConfig, ImportedTextConfig

_POINTER = b"version https://git-lfs"


class ImportingError(ModelError):
    """Files that cannot become a bundle: absent, of another architecture, incomplete. The message says what to do."""

    code = "import_failed"


@dataclass(frozen=True)
class ImageSource:
    """An image encoder with its weights; `reference` is how its own library prepares images: (n, 3, H, W)."""

    config: ImportedImageConfig
    network: nn.Module
    reference: Callable[[Sequence[Image.Image]], Tensor]
    whole: Callable[[Tensor], Tensor]
    """How its own library embeds them: (n, D)."""


@dataclass(frozen=True)
class TextSource:
    """A text encoder with its weights; `reference` is how its own library reads texts: (n, context) int64."""

    config: ImportedTextConfig
    network: nn.Module
    tokenizer: Tokenizer
    reference: Callable[[Sequence[str]], Tensor]
    whole: Callable[[Tensor], Tensor]
    """How its own library embeds these tokens: (n, D)."""


@dataclass(frozen=True)
class Source:
    """Both encoders. `origin`: the library and the model, for people."""

    name: str
    origin: str
    image: ImageSource
    text: TextSource


@contextmanager
def settings_of(what: str, file: Path | str) -> Iterator[None]:
    """Say that a file's settings of something make no sense, whatever they do to who reads them.

    Errors: `ImportingError`.
    """
    try:
        yield
    except (ModelError, ImportError):
        raise
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _nonsense(what, file, f"{place}: {first['msg']}") from error
    except Exception as error:  # they go to other libraries, which check little
        raise _nonsense(what, file, str(error) or type(error).__name__) from error


def _nonsense(what: str, file: Path | str, reason: str) -> ImportingError:
    reason = " ".join(reason.split())
    reason = reason if len(reason) <= 300 else f"{reason[:300]}…"
    return ImportingError(f"What {file} says of {what} cannot be used: {reason}. Download it again.")


def check_file(file: Path) -> None:
    """Refuse what may not be read, and what only tells where the file is. Errors: `ImportingError`."""
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(_POINTER))
    except PermissionError as error:
        raise ImportingError(f"{file} may not be read. Change its permissions.") from error
    except OSError as error:
        raise ImportingError(f"{file} cannot be read: {error.strerror}. Download it again.") from error
    if begin == _POINTER:
        raise ImportingError(
            f"{file} is a pointer of Git LFS in the file's place. Run `git lfs pull` where it came from, or download "
            "the file itself."
        )


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch checkpoint. Errors: `ImportingError`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ImportingError(
            f"There is no file of weights {file}. Name the model's file: .safetensors, or a checkpoint .bin or .pt."
        )
    if file.stat().st_size == 0:
        raise ImportingError(f"The file of weights {file} is empty. Download it again.")
    check_file(file)
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ImportingError(f"{file} cannot be read as safetensors: {error}. Download it again.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles, which are refused if they matter
            read: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # whatever a file may do to the reader
        raise ImportingError(
            f"{file} is no checkpoint that can be read without running code from it. Convert it to safetensors, or "
            "download the safetensors file of the model."
        ) from error
    state = read.get("state_dict", read) if isinstance(read, dict) else None
    tensors = {name: value for name, value in (state or {}).items() if isinstance(value, Tensor)}
    if not tensors:
        raise ImportingError(f"{file} holds no tensors by name. Choose the file with the model's weights.")
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def load_weights(network: nn.Module, tensors: dict[str, Tensor], file: Path, architecture: str) -> None:
    """Give a network the weights of a file, all of them. Errors: `ImportingError`."""
    own = network.state_dict()
    whole = [name for name in tensors if name in own and own[name].is_floating_point()]
    if odd := next((name for name in whole if not tensors[name].is_floating_point()), None):
        raise ImportingError(
            f"The weights {odd} in {file} are whole numbers: somebody quantised them. Choose the original weights."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _misfit(file, own, tensors, architecture, error) from error
    check_finite(network, file)


def check_finite(network: nn.Module, file: Path) -> None:
    """Refuse weights that are no numbers. Errors: `ImportingError`."""
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise ImportingError(f"The weights {name} in {file} hold values that are no numbers. Download them again.")


def _misfit(
    file: Path, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], architecture: str, error: Exception
) -> ImportingError:
    """What to say of weights that are not those of an architecture."""
    lacking = [f"it lacks {name}" for name in own if name not in tensors]
    foreign = [f"{name} is not of that model" for name in tensors if name not in own]
    other = [
        f"{name} is {_shape(tensors[name])}, not {_shape(one)}"
        for name, one in own.items()
        if name in tensors and tensors[name].shape != one.shape
    ]
    found = [*other, *lacking, *foreign] or [str(error)]
    first = " ".join(found[0].split())[:300]  # a file may call its tensors anything
    more = f", and {len(found) - 1} more differ" if len(found) > 1 else ""
    return ImportingError(
        f"{file} does not hold the weights of {architecture}: {first}{more}. Give the configuration that came "
        "with the weights."
    )


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
