"""The application: all commands, and what surrounds each of them."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from app.cli.failures import BROKEN_PIPE, FAILED, INTERRUPTED, CommandError, error_document
from app.cli.interruption import interrupt_on_sigterm
from app.cli.options import JSON_WANTED
from app.cli.output import print_json, say
from app.problems import describe
from app.version import VERSION

COMMANDS = (
    *("serve", "add", "sources", "watch", "caption", "captions", "search", "list", "map", "remove"),
    *("sentences", "reindex", "facts", "info", "backup", "restore", "export", "import", "key", "evaluate", "train"),
    "bench",
)
"""The commands, in the order of the help: each is the module of its name, which `register`s it."""
MODULES = {"import": "importing"}
"""Where the module cannot have the command's name."""

_WHILE_LOADING = (10_000, 20, 20)
"""Thresholds of the garbage collector: what is imported stays, and looking through it takes a tenth of a start."""

_JSON_GIVEN = "visem.json-given"
"""Key of `Context.meta`: whether --json stands on the command line, also if it cannot be read."""


@cache
def _command(name: str) -> Any:
    part = typer.Typer(rich_markup_mode=None)
    import_module(f"app.cli.{MODULES.get(name, name)}").register(part)
    return typer.main.get_group(part).commands[name]


class _Commands(Mapping[str, Any]):
    """Commands by name. A module is imported when its command is looked at: `visem search` needs no other one."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class VisemGroup(TyperGroup):
    """The root of all commands: turns exceptions into one line on standard error and an exit status."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, _Commands())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let --debug stand anywhere: it is added to the end of a line that has just failed."""
        options = args[: args.index("--")] if "--" in args else args
        if "--debug" in options:
            args.remove("--debug")
            args.insert(0, "--debug")
        ctx.meta[_JSON_GIVEN] = "--json" in options
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # or a broken pipe would only be noticed when nobody can handle it any more
            return result
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(BROKEN_PIPE) from None
        except KeyboardInterrupt:
            if ctx.meta.get(JSON_WANTED, ctx.meta.get(_JSON_GIVEN)):  # the command may not have read its options yet
                print_json(error_document("interrupted", "It was interrupted. Repeat the command to go on."))
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if hasattr(error, "format_message"):  # of Typer, about the command line
                if ctx.meta.get(_JSON_GIVEN):
                    print_json(error_document("invalid_request", error.format_message()))
                raise
            if ctx.params.get("debug"):
                import traceback

                traceback.print_exc()
            code, message = describe(error)
            say(f"visem: {message}")
            if ctx.meta.get(JSON_WANTED):
                print_json(error_document(code, message))
            raise typer.Exit(error.status if isinstance(error, CommandError) else FAILED) from None


application = typer.Typer(
    name="visem",
    cls=VisemGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"visem {VERSION}")
        raise typer.Exit


@application.callback()
def visem(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Find photographs by sentence, describe them, and do arithmetic with both.

    Settings come from VISEM_* environment variables; options override them.
    """


def main() -> None:
    """Run the command line of this process, and exit."""
    gc.set_threshold(*_WHILE_LOADING)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")  # looking for them takes as long as importing a command
    _open_closed_streams()
    interrupt_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file name may be anything
    try:
        application()
    except KeyboardInterrupt:  # before a command has begun, or while the process ends
        sys.exit(INTERRUPTED)
    except OSError as error:  # of standard output, while options are read; commands handle their own
        _discard_output()
        say(f"visem: standard output: {error.strerror}.")
        sys.exit(FAILED)
    finally:
        gc.freeze()  # or the interpreter would go through every object once more before it ends
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
        except OSError:  # a full disk, which has been said already
            _discard_output()
            sys.exit(FAILED)


def _open_closed_streams() -> None:
    """Open the null device where standard streams were closed, or the next file opened would take their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  # for as long as it runs


def _discard_output() -> None:
    """Point standard output to nowhere, so that Python does not complain when it flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
