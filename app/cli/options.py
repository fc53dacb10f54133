"""Options that several commands share, and the settings that come of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.failures import USAGE, CommandError

if TYPE_CHECKING:
    from app.settings import Settings
    from index import PhotoFilter

JSON_WANTED = "visem.json"
"""Key of `Context.meta`: whether the output has to be one JSON document."""


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON_WANTED] = value
    return value


LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", metavar="DIR", help="Directory of the library.  [VISEM_LIBRARY; ./library]"),
]
BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="DIR", help="Directory of the model bundle.  [VISEM_BUNDLE; the shipped one]"),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", callback=_remember_json, help="Print one JSON document, and nothing else."),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="Metadata of every new record; may be repeated. Values are JSON (3, true), or else text.",
    ),
]
FilterOption = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="KEY=VALUE", help="Only records with this metadata; may be repeated."),
]
TakenAfterOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only images taken at this time or later: 2024, 2024-05, 2024-05-01, 2024-05-01T10:30."
    ),
]
TakenBeforeOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only images taken before this time; same format.")
]
CameraOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only images of cameras with this in their name, such as canon.")
]
NearOption = Annotated[
    str | None,
    typer.Option(
        metavar="LAT,LON,KM",
        help="Only images taken near a place: latitude, longitude, kilometres, as in --near=52.52,13.405,5.",
    ),
]
ConceptOption = Annotated[
    list[str] | None,
    typer.Option("--concept", metavar="WORD", help="Only images that show this; may be repeated."),
]
CursorOption = Annotated[
    str | None, typer.Option("--cursor", help="`next_cursor` of the previous page, to get the next one.")
]


def read_settings(**overrides: Any) -> Settings:
    """The settings of the environment (VISEM_*), with the options that were given (not None) instead."""
    from pydantic import ValidationError

    from app.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        name = str(problem["loc"][0])
        source = f"--{name}" if name in given else f"VISEM_{name.upper()}"
        said = problem["msg"].removeprefix("Value error, ")
        raise CommandError("invalid_settings", f"{source}: {said}.", USAGE) from None


def read_metadata(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Metadata from KEY=VALUE; a value that is JSON is what it says, any other one is text."""
    from app.metadata import check_metadata

    try:
        return check_metadata({key: _value(text) for key, text in _pairs("--metadata", pairs)})
    except ValueError as error:
        raise CommandError("invalid_request", f"--metadata: the metadata {error}.", USAGE) from None


def read_filters(pairs: Sequence[str] | None) -> dict[str, str]:
    """Metadata filters from KEY=VALUE."""
    filters: dict[str, str] = {}
    for key, value in _pairs("--filter", pairs):
        if key in filters:
            raise CommandError("invalid_request", f"--filter: {key} is given more than once.", USAGE)
        filters[key] = value
    return filters


def read_photo_filter(**texts: str | None) -> PhotoFilter:
    """What is asked of photographs, by the names of the options."""
    from app.photo_filters import FilterError, photo_filter

    try:
        return photo_filter(**texts)
    except FilterError as error:
        option = error.field.replace("_", "-")
        raise CommandError("invalid_request", f"--{option} {error}.", USAGE) from None


def _pairs(option: str, pairs: Sequence[str] | None) -> list[tuple[str, str]]:
    split = [pair.partition("=") for pair in pairs or ()]
    for key, equals, _ in split:
        if not key or not equals:
            raise CommandError("invalid_request", f"{option} takes KEY=VALUE, such as {option} album=holiday.", USAGE)
    return [(key, value) for key, _, value in split]


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(constant: str) -> Any:
    """NaN and Infinity are no JSON, though Python reads them: they are text."""
    raise ValueError(constant)
