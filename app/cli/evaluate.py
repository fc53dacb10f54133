"""`visem evaluate`: how good a bundle is, by the field's measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.failures import USAGE, CommandError
from app.cli.options import JsonOption, read_settings
from app.cli.output import print_json, print_rows, say
from app.cli.progress import progress

if TYPE_CHECKING:
    from model.data.datasets import CaptionDataset
    from model.evaluation.protocol import Vectors
    from model.space import JointSpace

Encoder = Literal["bag", "lstm", "mean"]

DataOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", exists=True, file_okay=False, help="A captioned image set."),
]
SplitOption = Annotated[str, typer.Option("--split", metavar="NAME", help="train, dev (or val) or test.")]
ModelOption = Annotated[
    Path | None,
    typer.Option("--model", metavar="BUNDLE", help="Directory of a bundle.  [VISEM_BUNDLE; the shipped one]"),
]

HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", dir_okay=False, help="Write a page with the paper's own queries."),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE.svg", dir_okay=False, help="Plot predicted probabilities against observed shares."
    ),
]

evaluate = typer.Typer(no_args_is_help=True)


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(evaluate, name="evaluate", help="Measure a bundle on a captioned image set.")


@evaluate.callback()
def _evaluate() -> None:
    """Measure a bundle on a captioned image set."""


@evaluate.command()
def retrieval(
    data: DataOption,
    split: SplitOption,
    model: ModelOption = None,
    encoder: Annotated[
        Encoder | None, typer.Option(help="Sentence encoder.  [the bundle's choice]", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Rank all sentences for each image and all images for each sentence; report recall and median rank."""
    settings = read_settings(bundle=model)
    from model.data.datasets import load_dataset

    dataset = load_dataset(data, split)  # before the model: a wrong name is reported at once
    if dataset.missing:
        say(f"{dataset.missing:,} images of the split are left out: no file, or no captions.")
    from model.evaluation.protocol import measure_retrieval
    from model.space import JointSpace

    space = JointSpace.load(settings.bundle, device=settings.device)
    chosen = encoder or space.text.encoder
    choices = space.text.encoders
    if chosen not in choices:
        raise CommandError(
            "encoder_missing",
            f"The bundle {space.name} has no encoder {chosen}. Use --encoder {' or '.join(choices)}.",
            USAGE,
        )
    with progress("Embedding", "images") as reporter:
        document = measure_retrieval(space, dataset, [chosen], reporter.update)[chosen].to_json()
    if json:
        print_json(document)
        return
    say(f"{space.name}, {chosen} encoder, on {dataset.name} {dataset.split}: {len(dataset.items):,} images")
    print_rows(
        ("direction", "R@1", "R@5", "R@10", "median rank"),
        [
            [direction.replace("_", " "), *(f"{scores[key]:.1f}" for key in ("r1", "r5", "r10", "median_rank"))]
            for direction, scores in document.items()
        ],
    )


@evaluate.command()
def captions(
    data: DataOption,
    split: SplitOption,
    model: ModelOption = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="FILE",
            dir_okay=False,
            help="Also write 20 photographs, drawn at random, with captions and references: Markdown.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed for drawing these photographs.")] = 7,
    json: JsonOption = False,
) -> None:
    """Generate a caption for each image and score it against the references: BLEU, ROUGE-L, CIDEr.

    If the set has a `train` split, captions retrieved from it are scored for comparison, and generated captions that
    occur in it are counted.
    """
    settings = read_settings(bundle=model)
    from model.data.datasets import load_dataset
    from model.errors import DatasetError

    dataset = load_dataset(data, split)
    try:
        train_split = load_dataset(data, "train") if dataset.split != "train" else None
    except DatasetError:
        train_split = None
    if dataset.missing:
        say(f"{dataset.missing:,} images of the split are left out: no file, or no captions.")
    from model.captioner import Captioner
    from model.evaluation.caption_protocol import caption_table, measure_captions
    from model.evaluation.protocol import embed_captions, embed_photographs
    from model.words import tokenise

    captioner = Captioner.load(settings.bundle, device=settings.device)
    space = captioner.space
    with progress("Embedding", "images") as reporter:
        images = embed_photographs(space, dataset, reporter.update)
    train = None
    if train_split is not None:
        texts = [caption for item in train_split.items for caption in item.captions if tokenise(caption)]
        train = (train_split, embed_captions(space, texts, space.text.encoder))
    with progress("Writing", "captions") as reporter:
        document = measure_captions(captioner, dataset, images, train, reporter.update)
    if table is not None:
        table.write_text(caption_table(captioner, dataset, images, 20, seed), encoding="utf-8")
    if json:
        print_json(document)
        return
    say(f"{space.name} on {dataset.name} {dataset.split}: {len(dataset.items):,} images")
    rows = [("written", document), *document.get("baselines", {}).items()]
    keys = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "distinct1", "distinct2")
    print_rows(("captions", *keys), [[name.replace("_", " "), *(str(row[key]) for key in keys)] for name, row in rows])
    say(
        f"{document['agreement_errors']:.1%} of the captions have words that disagree; of the words of five captions "
        f"of an image {document['distinct_of_five']:.0%} differ."
    )
    if "concepts" in document:
        shown_, said = document["concepts"]["shown"], document["concepts"]["said"]
        say(f"{shown_:.1f} concepts are shown for an image; {said:.0f} in 100 of them occur in one of its captions.")
    if "in_training_set" in document:
        say(f"{document['in_training_set']:.1%} of the captions occur in the training set.")


@evaluate.command()
def regularities(
    data: DataOption,
    split: SplitOption,
    model: ModelOption = None,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how often arithmetic is right: photograph - black + brown, dog and cat, day and night.

    For comparison, the same queries are answered by the photograph alone and by typing the answer. `keeping the rest`
    is how many of the other things in the photograph the first answer shows as well. The page of --html contains
    photographs of the set: observe its terms of use.
    """
    space, dataset, vectors = _embedded(data, split, model)
    from model.evaluation.paper import measure_regularities

    document = measure_regularities(space, vectors, dataset)
    if html is not None:
        from model.evaluation.page import paper_page

        html.write_text(paper_page(space, vectors, dataset), encoding="utf-8")
    if json:
        print_json(document)
        return
    say(f"{space.name} on {dataset.name} {dataset.split}: {len(dataset.items):,} images")
    rows = []
    for name, report in document.items():
        if not isinstance(report, dict) or "queries" not in report or name == "graded":
            continue
        for how in ("arithmetic", "image_only", "text_only"):
            figures = (report[how][key] for key in ("success_at_1", "success_at_10", "keeping_the_rest"))
            rows.append([name, how.replace("_", " "), *(f"{figure:.1f}" for figure in figures)])
    print_rows(("queries", "by", "success at 1", "at 10", "keeping the rest"), rows)
    if (graded := document.get("graded")) is not None:
        say(
            f"The exchange and the rest: {graded['queries']:,} queries, mean over {graded['pairs']} pairs of attributes"
        )
        ways = ("arithmetic", "text_only", "image_only", "text_and_image")
        print_rows(("by", "nDCG@10"), [[way.replace("_", " "), f"{graded[way]:.1f}"] for way in ways])


@evaluate.command()
def calibration(
    data: DataOption,
    split: SplitOption,
    model: ModelOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Measure the calibration of a bundle on photographs that were kept out of the fit.

    The fit uses half of the photographs of a split; the measurement uses the other half.
    """
    space, dataset, vectors = _embedded(data, split, model, calibrated=True)
    from model.evaluation.calibration import measure_calibration
    from model.evaluation.plot import reliability_svg

    measured = measure_calibration(space, dataset, vectors)
    if plot is not None:
        plot.write_text(reliability_svg(measured), encoding="utf-8")
    if json:
        print_json({name: one.to_json() for name, one in measured.items()})
        return
    rows = [[name.replace("_", " "), f"{one.error:.3f}", f"{one.hits:,}"] for name, one in measured.items()]
    print_rows(("hits", "expected calibration error", "number"), rows)


def _embedded(
    data: Path, split: str, model: Path | None, *, calibrated: bool = False
) -> tuple[JointSpace, CaptionDataset, Vectors]:
    """A bundle, a split, and the vectors of its photographs."""
    settings = read_settings(bundle=model)
    from model.data.datasets import load_dataset

    dataset = load_dataset(data, split)
    from model.evaluation.protocol import embed_photographs
    from model.space import JointSpace

    space = JointSpace.load(settings.bundle, device=settings.device)
    if calibrated and space.config.calibration is None:
        raise CommandError(
            "calibration_missing",
            f"The bundle {space.name} has no calibration. Fit one: visem train calibration --data DIR --model BUNDLE",
        )
    with progress("Embedding", "images") as reporter:
        return space, dataset, embed_photographs(space, dataset, reporter.update)
