"""A trained model on disk: configuration, weights, vocabulary and model card, each with its SHA-256.

    bundle.json            BundleConfig below; names every other file with its checksum
    backbone.safetensors   weights of the image backbone, float16, by their names in timm
    backbone.onnx          the same network as a graph; its weights are read out of backbone.safetensors
    projection.onnx, words.onnx, lstm.onnx, captioner.onnx
                           the other networks as graphs; their weights are in the files below (model/runtime/)
    encoders.safetensors   image projection, word vectors, LSTM, looks of kinds (model/towers/)
    vocabulary.txt         one word a line (model/words.py)
    composition.safetensors  what the rule of arithmetic learned, where it is fitted (model/compose/arithmetic.py)
    concepts.safetensors   detectors of concepts, where there are any (model/concepts.py)
    captioner.safetensors  network and n-gram statistics of the captioner, where there is one (model/captioner/)
    structures.json        its words, parts of speech and structures
    image_encoder.*, text_encoder.*, tokenizer.json, words.*
                           towers of another library (model/towers/imported_config.py)
    MODEL_CARD.md          data, licence terms, recipe, figures

Loading verifies every checksum, never touches the network, and never unpickles. NAME.partial is a file that somebody is
writing, or did not finish; NAME.new is whole, and takes the place of NAME if `bundle.json` says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from model import threads
from model.captioner_config import CaptionerConfig
from model.concepts_config import ConceptsConfig
from model.errors import BundleError
from model.runtime.networks import NetworkName
from model.towers.config import ImageConfig, TextConfig
from model.towers.imported_config import ImportedImageConfig, ImportedTextConfig

FORMAT_VERSION = 10
READABLE_VERSIONS = (2, 3, 4, 5, 6, 7, 8, 9, 10)
"""Version 3 added names of kinds, 4 a calibration by more traits than the length of a text, 5 the graphs of all
networks (a CPU cannot run a bundle without them: `visem train convert` adds them), 6 the views of an image, 7
several backbones, 8 detectors of concepts by a kernel, 9 captions ranked by the words that a kernel expects, and
10 captions written from what it expects."""
WITHOUT_GRAPHS = 4
CONFIG_FILE = "bundle.json"
PARTIAL = ".partial"
NEW = ".new"
MODEL_CARD = "MODEL_CARD.md"
COMPOSITION = "composition.safetensors"


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompositionConfig(_Config):
    """The numbers of the rule of arithmetic; `model.compose.arithmetic` says what each does."""

    image_weight: float = Field(default=1.0, gt=0, description="An image counts this much more than a text.")
    swap_image_weight: float = Field(default=0.3, ge=0, description="The same, where attributes are exchanged.")
    swap_removal: float = Field(default=0.0, ge=0, description="What an exchanged attribute still takes away.")
    thing_image_weight: float = Field(default=0.5, ge=0, description="As swap_image_weight, for things.")
    thing_removal: float = Field(default=0.5, ge=0, description="As swap_removal, for things.")
    temperature: float = Field(default=0.2, gt=0)
    taken: float = Field(default=1.0, ge=0, description="Weight of how often the removed word stands before a head.")
    put: float = Field(default=0.5, ge=0, description="The same for the added word.")
    phrases: int = Field(default=1, ge=1, description="To how many phrases an added word is completed.")
    looks: float = Field(default=1.0, ge=0, description="Weight of what photographs of a phrase look like.")
    heads: tuple[str, ...] = Field(default=(), description="Words that attributes stand before; none: a plain sum.")
    pairs: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="How often a word stood right before a head, or (empty) before none."
    )


class CalibrationCurve(_Config):
    """probability = bend(1 / (1 + exp(-(slope * cosine + intercept + weights . traits)))).

    See `model.compose.calibration`.
    """

    slope: float = Field(gt=0)
    intercept: float
    weights: tuple[float, ...] = Field(default=(), description="Of the traits of a query.")
    usual: tuple[float, ...] = Field(default=(), description="The traits of a query of which none are known.")
    bend: tuple[tuple[float, float], ...] = Field(
        default=(), description="Knots of the line that corrects the logistic curve, both coordinates rising."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_version_3(cls, values: Any) -> Any:
        if isinstance(values, dict) and "brevity" in values:
            values = dict(values)
            values |= {"weights": (values.pop("brevity"),), "usual": (1.0,)}
        return values

    @model_validator(mode="after")
    def _traits_have_weights(self) -> Self:
        if len(self.weights) != len(self.usual):
            raise ValueError(f"{len(self.weights)} weights for {len(self.usual)} traits")
        return self


class CalibrationConfig(_Config):
    """The calibration of cosines into probabilities of relevance."""

    curves: dict[str, CalibrationCurve] = Field(description="By KIND_to_TARGET, such as sentence_to_images.")
    errors: dict[str, float] = Field(description="Expected calibration error of each, on hits kept out of the fit.")
    fitted_on: str


def _kind_of_tower(config: Any) -> Any:
    """What tells the kinds of towers apart; before format version 5 they did not name theirs."""
    return config.get("tower", "") if isinstance(config, dict) else getattr(config, "tower", "")


AnyImageConfig = Annotated[
    Annotated[ImageConfig, Tag("backbone")] | Annotated[ImportedImageConfig, Tag("imported")],
    Discriminator(lambda config: _kind_of_tower(config) or "backbone"),
]
AnyTextConfig = Annotated[
    Annotated[TextConfig, Tag("words")] | Annotated[ImportedTextConfig, Tag("imported")],
    Discriminator(lambda config: _kind_of_tower(config) or "words"),
]


class BundleConfig(_Config):
    """`bundle.json`."""

    format_version: int = FORMAT_VERSION
    name: str
    dimension: int = Field(gt=0, description="Dimension of the joint space.")
    image: AnyImageConfig
    text: AnyTextConfig
    composition: CompositionConfig = CompositionConfig()
    captioner: CaptionerConfig | None = Field(default=None, description="Writes captions; none: it cannot.")
    concepts: ConceptsConfig | None = Field(
        default=None, description="None: concepts are the words nearest to an image."
    )
    calibration: CalibrationConfig | None = Field(default=None, description="None: hits have no confidence.")
    training_data: str = Field(description="What it was trained on, with its terms of use.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="Training settings, seed included.")
    quality: dict[str, Any] = Field(default_factory=dict, description="Figures measured after training.")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of every other file.")

    @model_validator(mode="after")
    def _names_are_of_the_kinds(self) -> Self:
        named = self.text.names if isinstance(self.text, TextConfig) else None
        kinds = self.image.kinds if isinstance(self.image, ImageConfig) else 0
        if named is not None and len(named.names) != kinds:
            raise ValueError(f"names of {len(named.names)} kinds for the image side's {kinds}")
        return self

    @property
    def backbone(self) -> ImageConfig:
        """Its image tower, of the kind `backbone`. Errors: `BundleError` where it is of another kind."""
        if isinstance(self.image, ImageConfig):
            return self.image
        raise BundleError("bundle_unsupported", f"The image tower of {self.name} was not trained by Visem.")

    @property
    def projected(self) -> int:
        """F, the length of the features that its image projection takes. Errors: `BundleError` where it has none."""
        if self.image.feature_dimension is not None:
            return self.image.feature_dimension
        raise BundleError("bundle_unsupported", f"The image tower of {self.name} has no projection.")

    @property
    def words(self) -> TextConfig:
        """Its text tower, of the kind `words`. Errors: `BundleError` where it is of another kind."""
        if isinstance(self.text, TextConfig):
            return self.text
        raise BundleError("bundle_unsupported", f"The text tower of {self.name} was not trained by Visem.")

    @property
    def vector_files(self) -> frozenset[str]:
        """Files that determine a vector. All others may change without making a library's vectors worthless."""
        return frozenset({*self.image.files, *self.text.files})

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks of its towers and of its captioner."""
        towers = (*self.image.networks, *self.text.networks)
        return towers if self.captioner is None else (*towers, "captioner")

    def is_int8(self, name: NetworkName) -> bool:
        """Whether a CPU runs a network in whole numbers of 8 bits."""
        towers = {"image_encoder": self.image, "text_encoder": self.text}
        return getattr(towers.get(name), "precision", "fp32") == "int8"

    def graph(self, name: NetworkName) -> str:
        """The file of a network's graph."""
        return f"{name}.int8.onnx" if self.is_int8(name) else f"{name}.onnx"

    @property
    def required_files(self) -> frozenset[str]:
        """Files without which it is not whole."""
        graphs = () if self.format_version <= WITHOUT_GRAPHS else (f"{name}.onnx" for name in self.networks)
        return self.vector_files | {MODEL_CARD, *graphs}

    @property
    def space_id(self) -> str:
        """Digest of all that determines a vector: two bundles that share it make the same vectors."""
        identity = {
            "dimension": self.dimension,
            "image": self.image.identity(),
            "text": self.text.identity(),
            "files": {name: digest for name, digest in self.files.items() if name in self.vector_files},
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


Identity = tuple[int, ...]
"""What tells a file from another one of the same name, and from itself when it was written to."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its folder and configuration, and which files these were."""

    path: Path
    config: BundleConfig
    verified: Mapping[str, Identity] = field(default_factory=dict, repr=False)

    @property
    def has_graphs(self) -> bool:
        """Whether its networks are there as graphs, without which a CPU cannot run it."""
        return all(self.config.graph(name) in self.config.files for name in self.config.networks)

    def file(self, name: str) -> Path:
        """The path of one of its files, for whoever opens it.

        Much is opened when it is first needed. Errors: `BundleError` where the file has become another one by then:
        what is loaded already, and what a library remembers, would not belong to it.
        """
        path = self.path / name
        verified = self.verified.get(name)
        if verified is None or _identity(path) == verified or _digest_if_there(path) == self.config.files[name]:
            return path
        raise BundleError(
            "bundle_corrupted",
            f"{path} has changed since the bundle was opened. Start again, to use the bundle that is there now.",
        )

    @staticmethod
    def load_config(path: Path) -> BundleConfig:
        """Read `bundle.json` alone, without verifying the files beside it. Errors: `BundleError`."""
        return _read_config(path / CONFIG_FILE)

    @classmethod
    def load(cls, path: Path | None = None) -> Bundle:
        """Read and verify a bundle; None means the one that ships with Visem.

        Errors: `BundleError` naming the file: `bundle_missing`, `bundle_corrupted` (a checksum differs or the
        configuration cannot be read), `bundle_unsupported` (a format of another version).
        """
        path = shipped_bundle() if path is None else Path(path)
        config = _read_config(path / CONFIG_FILE)
        for name in sorted(config.required_files):
            if name not in config.files:
                raise BundleError("bundle_corrupted", f"{path / CONFIG_FILE} lists no checksum for {name}.")
        with ThreadPoolExecutor(threads.available()) as pool:  # hashing lets go of the GIL
            verified = list(pool.map(partial(_verify, path), config.files, config.files.values()))
        return cls(path, config, dict(zip(config.files, verified, strict=True)))


def shipped_bundle() -> Path:
    """Folder of the bundle that ships with Visem."""
    return Path(__file__).parent / "pretrained"


def write_config(path: Path, config: BundleConfig, files: Sequence[Path] = ()) -> BundleConfig:
    """Write `bundle.json` with the checksums of the files beside it; returns the configuration as written.

    `files` from elsewhere are copied into the bundle, by their names. A kill at any moment leaves the bundle as it was
    or as it is to be: replacing `bundle.json` decides, and loading the bundle puts the copies in place if need be.
    """
    for file in files:
        partial = path / f"{file.name}{PARTIAL}"
        shutil.copyfile(file, partial)
        partial.chmod(0o644)
        partial.replace(path / f"{file.name}{NEW}")
    sources = {
        file.name: file
        for file in path.iterdir()
        if file.is_file() and file.name != CONFIG_FILE and file.suffix not in (PARTIAL, NEW)
    }
    sources |= {file.name: path / f"{file.name}{NEW}" for file in files}
    digests = {name: file_digest(sources[name]) for name in sorted(sources)}
    config = config.model_copy(update={"files": digests, "format_version": FORMAT_VERSION})
    if not config.required_files <= digests.keys():  # it was not converted yet
        config = config.model_copy(update={"format_version": WITHOUT_GRAPHS})
    partial = path / f"{CONFIG_FILE}{PARTIAL}"
    partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(path / CONFIG_FILE)
    for file in files:
        _put_in_place(path, file.name)
    return config


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_config(path: Path) -> BundleConfig:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError("bundle_missing", f"There is no bundle here: {path} does not exist.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError("bundle_corrupted", f"{path} cannot be read: {error}. Restore the bundle.") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version not in READABLE_VERSIONS:
        raise BundleError(
            "bundle_unsupported",
            f"{path} has format version {version!r}; this Visem reads {', '.join(map(str, READABLE_VERSIONS))}. Use "
            "another bundle, or the Visem that made this one.",
        )
    try:
        config = BundleConfig.model_validate(raw)
    except ValidationError as error:
        if kinds := [one["ctx"]["tag"] for one in error.errors() if one["type"] == "union_tag_invalid"]:
            raise BundleError(
                "bundle_unsupported",
                f"{path} has a tower of the kind {kinds[0]!r}, which this Visem does not know. Use a newer one.",
            ) from error
        first = error.errors()[0]  # there may be a thousand
        where = ".".join(str(step) for step in first["loc"])
        raise BundleError(
            "bundle_corrupted", f"{path} is not a bundle's configuration: {where}: {first['msg']}. Restore the bundle."
        ) from error
    return config


def _verify(path: Path, name: str, digest: str) -> Identity:
    """Compare a file of a bundle with its checksum. Errors: `BundleError`."""
    if Path(name).name != name:
        raise BundleError("bundle_corrupted", f"{path / CONFIG_FILE} names a file outside the bundle: {name!r}.")
    file = path / name
    identity = _identity(file)
    actual = _digest_if_there(file)
    if actual != digest and _digest_if_there(path / f"{name}{NEW}") == digest:
        _put_in_place(path, name)
        identity = _identity(file)
        actual = _digest_if_there(file)
    if actual is None:
        raise BundleError("bundle_corrupted", f"The bundle lacks {file}. Restore the bundle.")
    if actual != digest:
        raise BundleError(
            "bundle_corrupted",
            f"{file} is damaged: its SHA-256 is {actual[:12]}…, not {digest[:12]}…. Restore the bundle.",
        )
    return identity


def _identity(path: Path) -> Identity:
    """Of a file, as it is now; () where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _digest_if_there(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none. Errors: `BundleError` where it cannot be read."""
    try:
        return file_digest(path) if path.is_file() else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BundleError("bundle_corrupted", f"{path} cannot be read: {error}. Restore the bundle.") from error


def _put_in_place(path: Path, name: str) -> None:
    """The last step of changing a file of a bundle; whoever was to do it may have been stopped before."""
    new = path / f"{name}{NEW}"
    try:
        new.replace(path / name)
    except FileNotFoundError:  # another process has just done it
        return
    except OSError as error:
        raise BundleError(
            "bundle_corrupted",
            f"A change of the bundle was interrupted, and {new} cannot be renamed to {name}: {error.strerror}. "
            "Rename it by hand.",
        ) from error
