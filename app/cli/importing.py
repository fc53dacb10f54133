"""`visem import`: what others made, for Visem to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.bundle_out import OutOption, OverwriteOption, check_bundle_out
from app.cli.extras import needs_extra
from app.cli.failures import USAGE, CommandError
from app.cli.import_library import import_library
from app.cli.options import JsonOption
from app.cli.output import print_json, say, shown, write

if TYPE_CHECKING:
    from model.towers.imported_config import Prompts
    from model.training.importing.source import Source

imports = typer.Typer(no_args_is_help=True)

PrecisionOption = Annotated[
    Literal["fp32", "int8"],
    typer.Option(help="What a CPU computes with: int8 is faster, and changes vectors a little."),
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        metavar="TEXT",
        help="What operands of arithmetic and names of concepts are put into, as 'a photo of a {}'; may be repeated.",
    ),
]
SentencePromptOption = Annotated[
    list[str] | None,
    typer.Option("--sentence-prompt", metavar="TEXT", help="The same for whole sentences; may be repeated."),
]
WordsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Words that name what an image shows, one a line.  [those of the shipped bundle]",
    ),
]
TermsOption = Annotated[
    str,
    typer.Option(metavar="TEXT", help="What the weights were trained on, and their terms of use: for the model card."),
]


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(imports, name="import", help="Import a library, or encoders that others trained.")


@imports.callback()
def _import() -> None:
    """Import a library that `visem export` wrote, or make a bundle of encoders that others trained."""


imports.command("library")(import_library)


@imports.command("open-clip")
def open_clip(
    config: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="A model that open_clip knows, such as ViT-B-32, or an open_clip_config.json."
        ),
    ],
    weights: Annotated[Path, typer.Option(metavar="FILE", help="Its weights: .safetensors, .bin or .pt.")],
    out: OutOption,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory with tokenizer.json, where the model does not use CLIP's own."),
    ] = None,
    precision: PrecisionOption = "fp32",
    prompt: PromptOption = None,
    sentence_prompt: SentencePromptOption = None,
    words: WordsOption = None,
    terms: TermsOption = "",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Import a model of open_clip from local files; nothing is downloaded."""
    check_bundle_out(out, overwrite)
    with needs_extra("clip"):
        from model.training.importing.open_clip import read_open_clip

        prompts = _prompts(sentence_prompt, prompt)
        _write(lambda: read_open_clip(config, weights, tokenizer), out, precision, prompts, words, terms, json)


@imports.command("hugging-face")
def hugging_face(
    folder: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Directory with config.json, model.safetensors, preprocessor_config.json, tokenizer.json.",
        ),
    ],
    out: OutOption,
    precision: PrecisionOption = "fp32",
    prompt: PromptOption = None,
    sentence_prompt: SentencePromptOption = None,
    words: WordsOption = None,
    terms: TermsOption = "",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Import CLIP or SigLIP as transformers stores them, from a local folder; nothing is downloaded."""
    check_bundle_out(out, overwrite)
    with needs_extra("clip"):
        from model.training.importing.hugging_face import read_hugging_face

        prompts = _prompts(sentence_prompt, prompt)
        _write(lambda: read_hugging_face(folder), out, precision, prompts, words, terms, json)


def _prompts(sentence: list[str] | None, operand: list[str] | None) -> Prompts:
    from pydantic import ValidationError

    from model.towers.imported_config import Prompts

    given = {"sentence": sentence, "operand": operand}
    try:
        return Prompts.model_validate({role: texts for role, texts in given.items() if texts})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CommandError("invalid_request", f"{reason[:1].upper()}{reason[1:]}.", USAGE) from error


def _write(
    read: Callable[[], Source],
    out: Path,
    precision: Literal["fp32", "int8"],
    prompts: Prompts,
    words: Path | None,
    terms: str,
    json: bool,
) -> None:
    """Read the source, write its bundle, and say how near its vectors are."""
    from model.training.importing.words import concept_words
    from model.training.importing.writing import write_imported

    listed = concept_words(words)
    say("Reading the model …")
    config, parity = write_imported(
        read(),
        out,
        precision=precision,
        prompts=prompts,
        words=listed,
        terms=terms,
        report=lambda stage: say(f"{stage[:1].upper()}{stage[1:]} …"),
    )
    cosines = {"image": parity.image, "text": parity.text}
    if json:
        print_json({"bundle": shown(out), "space_id": config.space_id, "precision": precision, "cosines": cosines})
        return
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    write(
        f"Wrote the bundle {shown(out)}: {config.dimension} dimensions, {size:,.0f} MB, runs in {precision} on a CPU.\n"
    )
    for tower, by_precision in cosines.items():
        figures = ", ".join(f"{name} {cosine:.4f}" for name, cosine in by_precision.items())
        write(f"Lowest cosine with the library's own vectors, {tower}s: {figures}.\n")
    say(f"Start the service with it: visem serve --bundle {shown(out)}")
