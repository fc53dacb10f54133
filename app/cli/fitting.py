"""`visem train composition`, `calibration` and `concepts`: what is fitted to a joint space that stays as it is."""

from __future__ import annotations

from pathlib import Path

import typer

from app.cli.bundle_out import BundleToChange
from app.cli.evaluate import DataOption
from app.cli.extras import needs_extra
from app.cli.failures import CommandError
from app.cli.options import JsonOption
from app.cli.output import print_json, shown, write
from app.cli.progress import progress


def add_to(train: typer.Typer) -> None:
    """Add the commands to those of `visem train`."""
    for command in (composition, calibration, concepts):
        train.command()(command)


def check_tagger() -> None:
    """Refuse at once to train on parts of speech without what tells them."""
    from model.captioner.tagging import TaggerUnavailable, tag_captions

    try:
        tag_captions([])
    except TaggerUnavailable as error:
        raise CommandError("training_unavailable", str(error)) from error


def composition(data: DataOption, model: BundleToChange, json: JsonOption = False) -> None:
    """Fit the arithmetic rule of a bundle, and its calibration, which depends on it.

    It is trained on the photographs and captions of `train`; those of `dev` choose its parameters. No vector changes,
    so libraries stay as they are.
    """
    _fit(data, model, json, with_composition=True)


def calibration(data: DataOption, model: BundleToChange, json: JsonOption = False) -> None:
    """Calibrate the cosines of a bundle into probabilities of relevance, on the `dev` split.

    No vector changes, so libraries stay as they are.
    """
    _fit(data, model, json, with_composition=False)


def concepts(data: DataOption, model: BundleToChange, json: JsonOption = False) -> None:
    """Fit the detectors of concepts of a bundle, and measure its captions, which use them.

    They are trained on the photographs and captions of `train`; those of `dev` turn their scores into probabilities. No
    vector changes, so libraries stay as they are; what is added from then on gets its concepts from the new detectors.
    """
    check_tagger()
    with needs_extra("train"):
        from model.training.fitting.concepts import can_tell_concepts
        from model.training.fitting.fit import fit_detectors, store, with_captions_measured
    from model.data.datasets import load_dataset
    from model.evaluation.protocol import embed_photographs
    from model.space import JointSpace

    train, dev = load_dataset(data, "train"), load_dataset(data, "dev")
    space = JointSpace.load(model, device="cpu")
    if not can_tell_concepts(space.config):
        raise CommandError(
            "training_unavailable",
            f"The bundle {space.name} does not know what kinds of things look like: it cannot have detectors.",
        )
    vectors = []
    for dataset in (train, dev):
        with progress("Embedding", "images") as reporter:
            vectors.append(embed_photographs(space, dataset, reporter.update))
    section, tensors = fit_detectors(space, train, dev, *vectors)
    store(model, space.config.model_copy(update={"concepts": section}), concepts=tensors)
    document: dict[str, object] = {"bundle": shown(model), "words": len(section.words), "kinds": len(section.names)}
    if space.config.captioner is not None:
        config = with_captions_measured(model, train, dev, vectors[1])
        store(model, config)
        document["captions"] = config.captioner and config.captioner.quality[f"{dev.name}-{dev.split}"]
    if json:
        print_json(document)
        return
    write(f"Wrote detectors of {len(section.words):,} words to {shown(model)}.\n")


def _fit(data: Path, model: Path, json: bool, *, with_composition: bool) -> None:
    from model.data.datasets import load_dataset
    from model.evaluation.protocol import embed_photographs
    from model.space import JointSpace
    from model.training.fitting.calibration import fit_calibration
    from model.training.fitting.fit import fit_to_space, store

    train = load_dataset(data, "train") if with_composition else None
    dev = load_dataset(data, "dev")
    space = JointSpace.load(model, device="cpu")
    with progress("Embedding", "images") as reporter:
        vectors = embed_photographs(space, dev, reporter.update)
    document: dict[str, object] = {"bundle": shown(model)}
    if train is not None:
        with progress("Embedding", "images") as reporter:
            train_vectors = embed_photographs(space, train, reporter.update)
        with progress("Fitting", "settings") as reporter:
            fitted = fit_to_space(space, train, dev, train_vectors, vectors, reporter.update)
        store(model, fitted.within(space.config, f"{dev.name}-{dev.split}"), fitted.learned)
        errors = fitted.calibration.errors
        document["composition"] = fitted.composition.model_dump(mode="json", exclude={"heads", "pairs"})
        document["regularities"] = fitted.regularities
    else:
        fitted_calibration = fit_calibration(space, dev, vectors)
        store(model, space.config.model_copy(update={"calibration": fitted_calibration}))
        errors = fitted_calibration.errors
    document["calibration_error"] = errors
    if json:
        print_json(document)
        return
    write(f"Wrote {shown(model)}/bundle.json. Expected calibration error on photographs kept out of the fit:\n")
    for name, error in errors.items():
        write(f"{name.replace('_', ' ')}\t{error:.3f}\n")
