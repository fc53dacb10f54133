"""Tokenizers of transformers, from a local folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from model.towers.imported_config import TOKENIZER, Cleaning
from model.towers.tokens import CLEANINGS
from model.training.importing.source import ImportingError, check_file

_SAMPLES = ("a dog", "two cats on a chair", "zebras")


@dataclass(frozen=True)
class TokenizerFolder:
    """A tokenizer as transformers reads it. `padding`: the token that fills up a batch."""

    tokenizer: Tokenizer
    padding: int
    own: Any

    @classmethod
    def read(cls, folder: Path) -> TokenizerFolder:
        """Read a folder with `tokenizer.json`. Errors: `ImportingError`."""
        if not (folder / TOKENIZER).is_file():
            raise ImportingError(
                f"There is no {TOKENIZER} in {folder}. Download the tokenizer's files, {TOKENIZER} and "
                "tokenizer_config.json, from where the model came from, into that folder."
            )
        check_file(folder / TOKENIZER)
        own = _as_transformers(folder)
        try:
            if own is None:
                own = _as_it_stands(folder)
            tokenizer = Tokenizer.from_str(own.backend_tokenizer.to_str())
        except Exception as error:  # whatever a file may do to the reader
            raise ImportingError(f"The tokenizer in {folder} cannot be read: {error}. Download it again.") from error
        if own.pad_token_id is None:
            raise ImportingError(f"The tokenizer in {folder} names no pad_token. Download its tokenizer_config.json.")
        return cls(tokenizer, int(own.pad_token_id), own)

    @property
    def is_of_transformers(self) -> bool:
        """Whether transformers has a class for it, which cleans texts on its own."""
        from transformers import PreTrainedTokenizerFast

        return type(self.own) is not PreTrainedTokenizerFast

    def reference(self, cleaning: Cleaning, length: int) -> Callable[[Sequence[str]], Tensor]:
        """Cleaned texts, as transformers splits them: (n, length)."""
        clean = CLEANINGS[cleaning]

        def read(texts: Sequence[str]) -> Tensor:
            tokens: Tensor = self.own(
                [clean(text) for text in texts],
                return_tensors="pt",
                max_length=length,
                padding="max_length",
                truncation=True,
            ).input_ids
            return tokens

        return read

    def check_end(self, length: int, end: int | None, folder: Path) -> None:
        """Refuse a tokenizer that does not end texts with the token whose vector an encoder takes.

        `end`: that token; None: the highest one, which then has to be the same in all texts. Errors: `ImportingError`.
        """
        tokens = self.reference("none", length)(_SAMPLES)
        highest = tokens.max(dim=1).values
        ends = bool((tokens == end).any(dim=1).all()) if end is not None else bool((highest == highest[0]).all())
        if not ends:
            raise ImportingError(
                f"The tokenizer in {folder} does not end texts as the text encoder wants it: it is of another model. "
                "Download both from one place."
            )


def _as_transformers(folder: Path) -> Any:
    """By the class that transformers chooses; None where it has none that stands on `tokenizer.json`."""
    from transformers import AutoTokenizer

    try:
        own = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception:  # SigLIP's wants another package, say, or the folder has no configuration
        return None
    return own if hasattr(own, "backend_tokenizer") else None


def _as_it_stands(folder: Path) -> Any:
    """By `tokenizer.json` itself, with the marks that `tokenizer_config.json` names."""
    from transformers import PreTrainedTokenizerFast

    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    marks = {name: settings[name] for name in ("pad_token", "eos_token", "unk_token") if settings.get(name)}
    marks = {name: mark["content"] if isinstance(mark, dict) else mark for name, mark in marks.items()}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER), **marks)
