"""`visem bench`: how fast Visem is on this machine."""

from __future__ import annotations

import os
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
    images: Annotated[int, typer.Option(min=16, metavar="N", help="How many pictures to embed and add.")] = 128,
    sizes: Annotated[str, typer.Option(metavar="N,N,...", help="Sizes of the libraries to search.")] = "1000,10000",
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast this machine embeds, adds and searches.

    It works with synthetic pictures, JPEGs of 500 x 375 pixels, in a temporary directory. Results vary with
    whatever else the machine does.
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
        from app.cli import measuring
        from app.service import Service
        from model.space import JointSpace

        space = JointSpace.load(settings.bundle, device=settings.device)
        with Service.open(settings, space=space) as service:
            say("Embedding...")
            document: dict[str, object] = {
                "bundle": space.name,
                "device": space.device,
                "cores": os.cpu_count(),
                "text_query_ms": measuring.text_milliseconds(space),
                "image_ms": measuring.image_milliseconds(space, batch=1),
                "image_in_batch_ms": measuring.image_milliseconds(space, batch=16),
            }
            say(f"Adding {images} pictures...")
            document["ingest_images_per_second"] = measuring.ingest_rate(service, images)
        searches: list[dict[str, float]] = []
        for size in library_sizes:
            say(f"Searching among {size:,}...")
            searches.append(measuring.search_milliseconds(Path(folder) / f"search-{size}", space, size))
        document["search"] = searches
    if json:
        print_json(document)
        return
    rows = [[name, f"{value:.2f}" if isinstance(value, float) else str(value)] for name, value in document.items()]
    rows = [row for row in rows if row[0] != "search"]
    for search in searches:
        rows.append([f"search_ms among {search['size']:,} ({search['index']})", f"{search['median_ms']:.2f}"])
    print_rows(("measure", "value"), rows)
