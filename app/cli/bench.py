"""`visem bench`: how fast Visem is on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from app.cli.options import BundleOption, JsonOption, read_settings
from app.cli.output import print_json, print_rows, say


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command()(bench)


def bench(
    images: Annotated[int, typer.Option(min=16, metavar="N", help="How many pictures to embed and add.")] = 512,
    sizes: Annotated[str, typer.Option(metavar="N,N,...", help="Sizes of the libraries to search.")] = "1000,10000",
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast this machine starts, embeds, captions, adds and searches, and how much memory a service uses.

    It uses synthetic JPEGs of 500 x 375 pixels in a temporary directory. If torch is installed, it is measured as well,
    alternating with ONNX Runtime. Results vary with the load of the machine.
    """
    try:
        library_sizes = sorted({int(part) for part in sizes.split(",")})
    except ValueError:
        raise typer.BadParameter("Give whole numbers, such as 1000,10000.", param_hint="--sizes") from None
    if library_sizes[0] < 1:
        raise typer.BadParameter("A library to search holds something.", param_hint="--sizes")
    with TemporaryDirectory(prefix="visem-bench-") as folder:
        settings = read_settings(bundle=bundle, library=Path(folder) / "library")
        say("Loading the model...")
        from app.cli import measuring, measuring_processes
        from app.service import Service
        from model.space import JointSpace

        space = JointSpace.load(settings.bundle, device=settings.device)
        torch = measuring.torch_space(space)
        spaces = {"own": space} | ({} if torch is None else {"torch": torch})
        picture = Path(folder) / "picture.jpg"
        picture.write_bytes(measuring.picture(0))
        captions = space.config.captioner is not None
        with Service.open(settings, space=space) as service:
            say("Embedding...")
            document: dict[str, object] = {
                "bundle": space.name,
                "device": space.device,
                "cores": os.cpu_count(),
            }
            times = measuring.model_milliseconds(spaces)
            document |= times["own"] | {"torch": times.get("torch")}
            say(f"Adding {images} pictures...")
            document["ingest_images_per_second"] = measuring.ingest_rate(service, images)
        say("Starting commands and a service...")
        document["cold_start_ms"] = measuring_processes.cold_start_milliseconds(settings, picture if captions else None)
        document["service_mb"] = measuring_processes.service_megabytes(
            settings, picture.read_bytes(), captions=captions
        )
        searches: list[dict[str, float]] = []
        for size in library_sizes:
            say(f"Searching among {size:,}...")
            searches.append(measuring.search_milliseconds(Path(folder) / f"search-{size}", space, size))
        document["search"] = searches
    if json:
        print_json(document)
        return
    rows = [[name, f"{value:.2f}" if isinstance(value, float) else str(value)] for name, value in _flat(document)]
    rows += [
        [f"search_ms among {search['size']:,} ({search['index']})", f"{search['median_ms']:.2f}"] for search in searches
    ]
    print_rows(("measure", "value"), rows)


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The figures with their names; those of a group behind its name. Searches have a form of their own."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {part}", figure) for part, figure in value.items())
        elif name != "search" and value is not None:
            yield name, value
