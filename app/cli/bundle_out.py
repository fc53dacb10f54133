"""Where a command writes a bundle, and which it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.output import shown

OutOption = Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Directory of the bundle to write.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")]
BundleToChange = Annotated[
    Path,
    typer.Option("--model", metavar="BUNDLE", exists=True, file_okay=False, help="Directory of the bundle to change."),
]


def check_bundle_out(out: Path, overwrite: bool) -> None:
    """Refuse to replace what somebody may miss: the bundle takes the place of the whole directory."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "bundle.json").is_file():
        raise CommandError("out_exists", f"{shown(out)} exists and is not a bundle. Choose another --out.", USAGE)
    if not overwrite:
        raise CommandError("out_exists", f"There is a bundle in {shown(out)}. Replace it with --overwrite.", USAGE)
