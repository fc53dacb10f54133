"""`visem serve`: the service over HTTP."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType
from typing import Annotated

import typer

from app.cli.failures import CommandError
from app.cli.options import BundleOption, LibraryOption, read_settings
from app.cli.output import say, shown
from app.cli.sessions import open_service


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(serve)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [VISEM_HOST; 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.  [VISEM_PORT; 8000]"),
    ] = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
) -> None:
    """Serve HTTP until Ctrl-C or SIGTERM.

    Running requests are finished then. Logs go to standard error.
    """
    settings = read_settings(host=host, port=port, library=library, bundle=bundle)
    _check_address(settings.host, settings.port)
    # While the model loads, too: what has been opened is to be closed.
    signal.signal(signal.SIGTERM, _end)
    with open_service(settings, create=True) as service:
        from app.main import serve as serve_until_stopped

        def announce(host: str, port: int) -> None:
            if sys.stderr.isatty():
                shown_host = f"[{host}]" if ":" in host else host
                say(f"Serving {shown(settings.library)} on http://{shown_host}:{port}/ (Ctrl-C stops it)")

        serve_until_stopped(service, announce)


def _check_address(host: str, port: int) -> None:
    """Fail early, and in one line, if the address cannot be had: the model takes a while to load."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CommandError(
            "address_unavailable",
            f"Cannot listen on {host}, port {port}: {error.strerror}. Choose others with --host and --port.",
        ) from error


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
