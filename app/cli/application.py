"""The application: all commands, and what surrounds each of them."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.cli import add, bench, caption, evaluate, info, map, reindex, remove, search, sentences, serve, train
from app.cli.errors import BROKEN_PIPE, FAILED, INTERRUPTED, CommandError, describe, error_document
from app.cli.options import JSON_WANTED
from app.cli.output import print_json, say


class VisemGroup(TyperGroup):
    """The root of all commands: turns exceptions into one line on standard error and an exit status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let --debug stand anywhere: it is added to the end of a line that has just failed."""
        options = args[: args.index("--")] if "--" in args else args
        if "--debug" in options:
            args.remove("--debug")
            args.insert(0, "--debug")
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
        except Exception as error:
            if hasattr(error, "format_message"):  # of Typer, about the command line
                raise
            if ctx.params.get("debug"):
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
        from app.version import version

        typer.echo(f"visem {version()}")
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


for module in (serve, add, caption, search, map, remove, sentences, reindex, info, evaluate, train, bench):
    module.register(application)


def main() -> None:
    """Run the command line of this process, and exit."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file name may be anything
    try:
        application()
    except KeyboardInterrupt:  # before a command has begun, or while the process ends
        sys.exit(INTERRUPTED)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()


def _discard_output() -> None:
    """Point standard output to nowhere, so that Python does not complain when it flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
