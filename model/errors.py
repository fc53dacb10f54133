"""Everything that `model` raises on purpose.

    ModelError
    ├── BundleError              bundle_missing, bundle_corrupted, bundle_unsupported
    ├── DatasetError             dataset_missing, dataset_malformed, dataset_split_unknown, dataset_empty
    ├── ImageError               image_empty, image_unreadable, image_truncated, image_too_small,
    │                            image_too_large, image_format_unsupported
    ├── TextError
    │   ├── EmptyTextError       empty_text
    │   └── NoKnownWordsError    no_known_words
    ├── CaptionerMissingError    captioner_missing
    ├── DeviceMissingError       device_missing
    ├── StructureError           structure_unknown, structure_too_long
    └── DegenerateQueryError     degenerate_query

Each carries `code`, a stable snake_case name for programs, and a message for people that says what to do.
All of them survive `copy` and the pickling that worker processes do to exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

BundleErrorCode = Literal["bundle_missing", "bundle_corrupted", "bundle_unsupported"]
DatasetErrorCode = Literal["dataset_missing", "dataset_malformed", "dataset_split_unknown", "dataset_empty"]
ImageErrorCode = Literal[
    "image_empty",
    "image_unreadable",
    "image_truncated",
    "image_too_small",
    "image_too_large",
    "image_format_unsupported",
]


class ModelError(Exception):
    """Root of the tree. `code` is stable, `str(error)` is written for people."""

    code: str = "model_error"


class BundleError(ModelError):
    """A bundle cannot be loaded: absent, damaged, or of a format this version does not know."""

    def __init__(self, code: BundleErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, str(self))


class DatasetError(ModelError):
    """A captioned image set cannot be read: files absent, malformed, no such split, or nothing in it."""

    def __init__(self, code: DatasetErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, str(self))


class ImageError(ModelError):
    """Bytes that are not a picture we accept: empty, damaged, beyond the limits, or of another format."""

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, str(self))


class TextError(ModelError):
    """A text that cannot be embedded. `text` is the one that was given."""

    code = "text_error"

    def __init__(self, text: str, message: str) -> None:
        super().__init__(message)
        self.text = text


class EmptyTextError(TextError):
    """A text without a single word in it."""

    code = "empty_text"

    def __init__(self, text: str = "") -> None:
        super().__init__(text, "The text has no words in it. Write at least one word.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text,)


class NoKnownWordsError(TextError):
    """A text with words, none of which the vocabulary knows. `unknown` lists them in order."""

    code = "no_known_words"

    def __init__(self, text: str, unknown: Sequence[str]) -> None:
        self.unknown = tuple(unknown)
        listed = ", ".join(repr(word) for word in self.unknown[:10])
        if len(self.unknown) > 10:
            listed += f" and {len(self.unknown) - 10} more"
        super().__init__(
            text,
            f"The model knows none of these words: {listed}. "
            "Check the spelling, or use simpler words for the same thing.",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text, self.unknown)


class CaptionerMissingError(ModelError):
    """A bundle without a captioner was asked to write."""

    code = "captioner_missing"


class DeviceMissingError(ModelError):
    """A device was asked for that this machine does not have, or that torch cannot use."""

    code = "device_missing"


class StructureError(ModelError):
    """A structure that no caption can be given: a tag that does not exist, or too many of them."""

    def __init__(self, code: Literal["structure_unknown", "structure_too_long"], message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, str(self))


class DegenerateQueryError(ModelError):
    """The operands of a query cancel out, so that their sum has no direction."""

    code = "degenerate_query"

    def __init__(
        self,
        message: str = "The terms of the query cancel each other out. Change a term or its weight.",
    ) -> None:
        super().__init__(message)


def how_to_install(extra: str) -> str:
    """Return the sentence that tells people how to get one of Visem's extras."""
    return f"Install the extra `{extra}` in Visem's folder: .venv/bin/pip install -c constraints.txt -e '.[{extra}]'."
