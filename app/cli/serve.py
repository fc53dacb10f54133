"""`visem serve`: the service over HTTP."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.options import BundleOption, LibraryOption, read_settings
from app.cli.output import say, shown
from app.cli.sessions import open_service
from model import threads

if TYPE_CHECKING:
    from app.settings import Settings


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
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            metavar="N",
            help="Processes that serve.  [VISEM_WORKERS; one for each core where there are four or more]",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Serve without a key where other machines can reach it.", show_default=False),
    ] = None,
) -> None:
    """Serve HTTP until Ctrl-C or SIGTERM.

    It finishes running requests before it stops. Logs go to standard error.
    """
    settings = read_settings(host=host, port=port, library=library, bundle=bundle, workers=workers, insecure=insecure)
    _check_protection(settings)
    _check_address(settings.host, settings.port)

    def announce(host: str, port: int) -> None:
        if sys.stderr.isatty():
            shown_host = f"[{host}]" if ":" in host else host
            say(f"Serving {shown(settings.library)} on http://{shown_host}:{port}/ (Ctrl-C stops it)")

    from app.workers.limits import default_workers

    number = settings.workers or default_workers(settings.device)
    if number > 1:
        from app.workers.supervisor import supervise

        supervise(settings, number, announce)
        return
    threads.answer_soon()
    # While the model loads, too: what has been opened is to be closed.
    signal.signal(signal.SIGTERM, _end)
    with open_service(settings, create=True) as service:
        from app.main import serve as serve_until_stopped

        serve_until_stopped(service, announce)


def _check_protection(settings: Settings) -> None:
    """Refuse to let other machines in without a key, unless that is meant."""
    from app.http.clients import is_loopback
    from app.keys import KeyFile

    address = settings.published_host or settings.host
    if settings.insecure or settings.api_key is not None or is_loopback(address):
        return
    if not KeyFile(settings.library).read():
        raise CommandError(
            "key_required",
            f"There is no key, so anyone who can reach {address} could read and change the library. Make one with "
            "`visem key add NAME --scope admin`, or set VISEM_API_KEY. If that is what you want, use --insecure or "
            "VISEM_INSECURE=1. In a container whose port is published on one address only, set "
            "VISEM_PUBLISHED_HOST to that address.",
            USAGE,
        )


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
