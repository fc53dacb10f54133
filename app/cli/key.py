"""`visem key`: keys for programs and people that use the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.options import JsonOption, LibraryOption, read_settings
from app.cli.output import print_json, say, write

if TYPE_CHECKING:
    from app.keys import KeyFile
    from app.settings import Settings

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command()(add)
    group.command(name="list")(list_keys)
    group.command()(remove)
    application.add_typer(group, name="key", help="Make, list and remove keys of the service.")


def add(
    name: NameArgument,
    scope: Annotated[
        Literal["metrics", "read", "write", "admin"],
        typer.Option(
            help="read: search and view; write: also add, change and delete; admin: everything, including /metrics; "
            "metrics: only /metrics."
        ),
    ] = "read",
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it. This is the only time that it is shown: the library stores only its hash.

    A running service notices it within a second. From then on every request needs a key.
    """
    settings = read_settings(library=library)
    settings.library.mkdir(mode=0o700, parents=True, exist_ok=True)  # keys can come before photographs
    secret = _file(settings).add(name, scope)
    if json:
        print_json({"name": name, "scope": scope, "key": secret})
        return
    say("This is the only time that the key is shown:")
    write(f"{secret}\n")


def list_keys(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Show names and scopes."""
    keys = _file(read_settings(library=library)).read()
    if json:
        print_json({"keys": [{"name": one.name, "scope": one.scope, "created_at": one.created_at} for one in keys]})
        return
    for one in keys:
        write(f"{one.name}  {one.scope}  {one.created_at}\n")
    if not keys:
        say("There are no keys. `visem key add NAME` makes one.")


def remove(name: NameArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Remove a key. It stops working within a second, and so do browser sessions that signed in with it."""
    _file(read_settings(library=library)).remove(name)
    if json:
        print_json({"removed": name})
    else:
        say(f"Removed the key {name}.")


def _file(settings: Settings) -> KeyFile:
    from app.keys import KeyFile

    return KeyFile(settings.library)
