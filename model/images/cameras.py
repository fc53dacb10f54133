"""Names of cameras and lenses as people write them: `Nikon D750` for `NIKON CORPORATION` and `NIKON D750`."""

from __future__ import annotations

import re

from model.images.one_line import one_line

_MAX_LENGTH = 100
_COMPANY = re.compile(
    r"[\s,]+(corporation|corp\.?|company|co\.?,? ?ltd\.?|co\.?|ltd\.?|inc\.?|ag|gmbh|imaging|camera|optical|digital|"
    r"electric|electronics|technologies|computer)\b\.?.*$",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"unknown|none|n/a|mm|f/|[\W_0]", re.IGNORECASE)
"""What is written where nothing is known: dashes, zeros, `0.0 mm f/0.0`, `Unknown`."""


def camera_name(make: str | None, model: str | None) -> str | None:
    """The name of a camera by its maker and model, either of which may be missing; None for neither."""
    maker = _maker(_known(make))
    name = _known(model)
    if maker is None or name is None:
        return name or maker
    first, *rest = maker.split()
    if name.casefold().startswith(maker.casefold()):
        return _line(f"{maker} {name[len(maker) :]}")
    if name.casefold().startswith(f"{first.casefold()} "):
        return _line(f"{maker if not rest else first} {name[len(first) :]}")
    return _line(f"{maker} {name}")


def lens_name(lens: str | None) -> str | None:
    """The name of a lens; None where none is known."""
    return _known(lens)


def _maker(make: str | None) -> str | None:
    """A maker without what makes a company of it, and not in capitals unless it is an abbreviation."""
    if make is None:
        return None
    short = _COMPANY.sub("", make).removeprefix("EASTMAN ").strip(" ,.") or make
    return " ".join(word.capitalize() if word.isupper() and len(word) > 3 else word for word in short.split())


def _known(text: str | None) -> str | None:
    line = one_line(text, _MAX_LENGTH)
    return line if line is not None and _NOTHING.sub("", line) else None


def _line(text: str) -> str | None:
    return one_line(text, _MAX_LENGTH)
