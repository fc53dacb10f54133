"""`visem sentences`: the other half of image-sentence retrieval."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failures import FAILED, USAGE, CommandError
from app.cli.json_stream import JsonStream
from app.cli.options import (
    BundleOption,
    CursorOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    MetadataOption,
    read_filters,
    read_metadata,
    read_settings,
)
from app.cli.output import count, print_json, print_rows, printable, say, shown, write
from app.cli.progress import progress
from app.cli.remove import remove_each
from app.cli.sessions import open_library, open_service

SHOWN = 80
"""Characters that are shown of a sentence which cannot be stored, as it may be very long."""
BATCH = 256
"""Sentences that are embedded and stored at once."""

sentences = typer.Typer(no_args_is_help=True)


def register(application: typer.Typer) -> None:
    """Add the commands to the application."""
    application.add_typer(sentences, name="sentences", help="Sentences of the library: add, list, remove.")


@sentences.command()
def add(
    ctx: typer.Context,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Sentences, each in quotes.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="A text file with one sentence on each line; - for standard input."
        ),
    ] = None,
    metadata: MetadataOption = None,
    library: LibraryOption = None,
    bundle: BundleOption = None,
    json: JsonOption = False,
) -> None:
    """Add sentences.

    A sentence is rejected if the model knows none of its words, or if it is too long. The exit status is then 1.
    """
    if not texts and file is None:
        raise CommandError(
            "invalid_request", 'Give sentences or --file FILE, as in: visem sentences add "A dog runs."', USAGE
        )
    if file is not None and str(file) != "-" and (file.is_dir() or not file.exists()):
        raise CommandError("invalid_request", f"--file: there is no file {shown(file)}.", USAGE)
    checked = read_metadata(metadata)
    counts: Counter[str] = Counter()
    settings = read_settings(library=library, bundle=bundle)
    with progress("Adding", "sentences") as reporter, open_service(settings, create=True) as service:
        from app.embedding.batcher import batched
        from app.http import responses
        from app.results import SentenceResult

        results = JsonStream(ctx, "results") if json else None
        try:
            for batch in batched(_all_texts(texts or (), file), BATCH):
                bad = {position: reason for position, (text, _) in enumerate(batch) if (reason := text_fault(text))}
                stored = iter(
                    service.add_sentences([text for i, (text, _) in enumerate(batch) if i not in bad], checked)
                )
                for position, (text, line) in enumerate(batch):
                    if position in bad:
                        result = SentenceResult("rejected", text[:SHOWN], None, (), "invalid_request", bad[position])
                    else:
                        result = next(stored)
                    counts[result.status] += 1
                    where = "" if line is None else f"line {line}, "
                    if result.status == "rejected":
                        reporter.note(f"Rejected {where}{printable(result.text)}: {result.reason}")
                    if results is not None:
                        status = responses.sentence_status(result).model_dump(mode="json")
                        results.add(status if line is None else {"line": line, **status})
                reporter.update(counts.total(), None)
        finally:
            created, duplicates, rejected = (counts[key] for key in ("created", "duplicate", "rejected"))
            if results is not None:
                results.end(created=created, duplicates=duplicates, rejected=rejected)
    if not json:
        write(f"Added {count(created, 'sentence')}; {duplicates:,} already there; {rejected:,} rejected.\n")
    if rejected:
        raise typer.Exit(FAILED)


@sentences.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at most.")] = 50,
    filters: FilterOption = None,
    cursor: CursorOption = None,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """List sentences, newest first."""
    from app.http.schemas.records import Sentence

    with open_library(read_settings(library=library)) as opened:
        page = opened.list_sentences(cursor, limit, read_filters(filters))
    if json:
        items = [Sentence(**asdict(record)).model_dump(mode="json") for record in page.items]
        print_json({"items": items, "next_cursor": page.next_cursor, "total": page.total})
        return
    print_rows(("id", "sentence"), [[record.id, record.text] for record in page.items])
    if page.next_cursor:
        say(f"{len(page.items):,} of {page.total:,}. The next ones: --cursor {page.next_cursor}")


@sentences.command()
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of sentences.")],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Remove sentences.

    This cannot be undone.
    """
    with open_library(read_settings(library=library)) as opened:
        remove_each(opened.delete_sentence, ids, "sentence", json=json)


def text_fault(text: str, kind: str = "sentence") -> str | None:
    """What is wrong with a text by the rule that HTTP has as well; None if it is valid."""
    from pydantic import TypeAdapter, ValidationError

    from app.http.schemas.base import PlainText

    try:
        TypeAdapter(PlainText).validate_python(text)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"]
        return f"The {kind} is not accepted: {reason.removeprefix('Value error, ')}."
    return None


def _all_texts(texts: Sequence[str], file: Path | None) -> Iterator[tuple[str, int | None]]:
    """The sentences, and the number of their line for those of a file."""
    yield from ((text, None) for text in texts)
    if file is None:
        return
    try:
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8-sig") as lines:
            yield from ((line.strip(), number) for number, line in enumerate(lines, 1) if line.strip())
    except UnicodeDecodeError:
        raise CommandError("invalid_text", f"{shown(file)} is not UTF-8 text. Convert it first.") from None
