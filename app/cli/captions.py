"""`visem captions`: the stored captions of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.failures import FAILED, USAGE, CommandError
from app.cli.options import BundleOption, JsonOption, LibraryOption, read_settings
from app.cli.output import count, print_json, print_rows, write
from app.cli.progress import progress
from app.cli.sentences import text_fault
from app.cli.sessions import below_searches, open_library, open_service

if TYPE_CHECKING:
    from index import CaptionRecord

captions = typer.Typer(no_args_is_help=True)

ImageArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of an image, as `search` shows it.")]


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(captions, name="captions", help="Stored captions of an image: list, add, set, remove, retry.")


@captions.command("list")
def list_(image: ImageArgument, library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the captions of an image: your own, then those that the captioner wrote, best first."""
    with open_library(read_settings(library=library)) as opened:
        _print(opened.captions.of(_id(image)), json=json)


@captions.command()
def add(
    image: ImageArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="Captions, each in quotes.")],
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Add your own captions to an image, after the existing ones, and list all."""
    _check(texts)
    with open_service(read_settings(library=library, bundle=bundle)) as service:
        own = [one.sentence.text for one in service.image_captions(_id(image)) if one.origin == "user"]
        _print(service.set_captions(_id(image), [*own, *texts]), json=json)


@captions.command("set")
def set_(
    image: ImageArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]", help="Captions, each in quotes; without any, all of your own are removed."),
    ] = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Replace your own captions of an image with these texts, in this order, and list all.

    Captions that the captioner wrote stay. Sentences stay in the library when they are no longer captions.
    """
    _check(texts or ())
    with open_service(read_settings(library=library, bundle=bundle)) as service:
        _print(service.set_captions(_id(image), texts or ()), json=json)


@captions.command()
def remove(
    image: ImageArgument,
    origin: Annotated[
        Literal["captioner", "user"] | None,
        typer.Option(help="captioner: only those that the captioner wrote; user: only your own."),
    ] = None,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Remove the captions of an image, and list what is left.

    A sentence that the captioner wrote is deleted with the last image that it captions. Your own sentences stay.
    """
    with open_library(read_settings(library=library)) as opened:
        opened.captions.delete(_id(image), origin)
        _print(opened.captions.of(_id(image)), json=json)


@captions.command()
def retry(library: LibraryOption = None, bundle: BundleOption = None, json: JsonOption = False) -> None:
    """Write the captions that images are still owed, also those given up after failures.

    Exit status 1 if some fail again.
    """
    below_searches()
    with open_service(read_settings(library=library, bundle=bundle)) as service:
        if "generate" not in service.caption_modes:
            from app.captions.writing import captioner_missing

            raise captioner_missing(service.space)
        kept = service.library.captions
        kept.retry()
        owed = kept.owed()
        service.captions_kept.wake()
        with progress("Captioning", "images") as reporter:
            service.wait_for_captions(lambda left: reporter.update(max(owed - left, 0), owed))
        left = kept.owed() + kept.given_up()
    document = {"written": max(owed - left, 0), "left": left}
    if json:
        print_json(document)
    else:
        write(f"Captions of {count(document['written'], 'image')} written, {left:,} left.\n")
    if left:
        raise typer.Exit(FAILED)


def _id(image: str) -> str:
    return image.removeprefix("image:")


def _check(texts: Sequence[str]) -> None:
    for text in texts:
        if fault := text_fault(text, "caption"):
            raise CommandError("invalid_request", fault, USAGE)


def _print(stored: Sequence[CaptionRecord], *, json: bool) -> None:
    if json:
        from app.http import responses

        print_json(responses.image_captions(stored).model_dump(mode="json"))
        return
    print_rows(("origin", "caption"), [[one.origin, one.sentence.text] for one in stored])
