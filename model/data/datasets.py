"""Captioned image sets on disk, in the layouts in which they are handed around.

`load_dataset` tells the layout by the files that a folder holds, the first of:

    dataset_*.json       Karpathy's splits of Flickr8k, Flickr30k and COCO: captions and splits in one file
    Flickr8k.token.txt   the original Flickr8k: NAME.jpg#0<TAB>caption
    captions.txt         Flickr8k as CSV: image,caption
    results.csv          Flickr30k: image_name| comment_number| comment

Flickr8k's splits are in Flickr_8k.trainImages.txt, .devImages.txt and .testImages.txt, Flickr30k's in
train.txt, val.txt and test.txt (as Flickr30k Entities has them). Photographs are in a folder beside them.

Hodosh, Young, Hockenmaier (2013); Young et al. (2014); Karpathy and Fei-Fei (2015).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from model.errors import DatasetError

# What the sources call the three splits. COCO's `restval` (rest of validation) is for training.
_SPLIT_NAMES = {"train": "train", "restval": "train", "dev": "dev", "val": "dev", "test": "test"}
_ASKABLE = {"train": "train", "dev": "dev", "val": "dev", "test": "test"}

_FLICKR8K_LISTS = {split: f"Flickr_8k.{split}Images.txt" for split in ("train", "dev", "test")}
_FLICKR30K_LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}

_IMAGE_FOLDERS = (
    "Images",
    "images",
    "Flicker8k_Dataset",  # Spelt like this in the original release.
    "Flickr8k_Dataset",
    "flickr30k_images",
    "flickr30k-images",
)

Captions = dict[str, list[str]]


@dataclass(frozen=True)
class CaptionedImage:
    """A photograph and what people wrote about it: at least one caption, in the order of the source."""

    path: Path
    captions: tuple[str, ...]


@dataclass(frozen=True)
class CaptionDataset:
    """One split of a set. `name` is "flickr8k", "coco", ...; `split` is "train", "dev" or "test".

    `missing` counts images of the split that were left out: their file or all of their captions are absent.
    """

    name: str
    split: str
    items: tuple[CaptionedImage, ...]
    missing: int = 0


@dataclass(frozen=True)
class _Listing:
    """What the files of a set say: captions by image, images by split, and which files list the splits."""

    name: str
    captions: Captions
    splits: dict[str, list[str]]
    split_files: dict[str, str]


def load_dataset(root: Path, split: str) -> CaptionDataset:
    """Read one split ("train", "dev" or "test"; "val" is another name for "dev") of the set in `root`.

    Raises `DatasetError`: dataset_missing (names the file or folder), dataset_malformed (names file and
    line), dataset_split_unknown (lists the splits there are), dataset_empty (no usable image).
    """
    if split not in _ASKABLE:
        raise DatasetError(
            "dataset_split_unknown", f"There is no split {split!r}. Known splits: {', '.join(_ASKABLE)}."
        )
    wanted = _ASKABLE[split]
    listing = _read_listing(root)
    if wanted not in listing.splits:
        raise _no_such_split(root, wanted, listing)
    names = listing.splits[wanted]
    folders = [folder for name in _IMAGE_FOLDERS if (folder := root / name).is_dir()] + [root]
    items = []
    for name in names:
        path = _find(name, folders)
        captions = listing.captions.get(name)
        if path is not None and captions:
            items.append(CaptionedImage(path, tuple(captions)))
    if not items:
        raise DatasetError(
            "dataset_empty",
            f"None of the {len(names)} images of split {wanted!r} has both its file and captions. "
            f"Put the photographs into {root / _IMAGE_FOLDERS[0]}.",
        )
    return CaptionDataset(listing.name, wanted, tuple(items), missing=len(names) - len(items))


def _read_listing(root: Path) -> _Listing:
    if not root.is_dir():
        raise DatasetError("dataset_missing", f"There is no folder {root}.")
    karpathy = sorted(root.glob("dataset_*.json"))
    if len(karpathy) > 1:
        raise DatasetError(
            "dataset_malformed",
            f"{root} holds several sets: {', '.join(path.name for path in karpathy)}. Give each a folder of its own.",
        )
    if karpathy:
        return _read_karpathy(karpathy[0])
    readers: dict[str, tuple[str, Callable[[Path], Captions], dict[str, str]]] = {
        "Flickr8k.token.txt": ("flickr8k", _read_tokens, _FLICKR8K_LISTS),
        "captions.txt": ("flickr8k", _read_comma_separated, _FLICKR8K_LISTS),
        "results.csv": ("flickr30k", _read_bar_separated, _FLICKR30K_LISTS),
    }
    for file_name, (name, read_captions, lists) in readers.items():
        if (root / file_name).is_file():
            captions = read_captions(root / file_name)
            return _Listing(name, captions, _read_split_lists(root, lists), lists)
    raise DatasetError(
        "dataset_missing",
        f"{root} holds no captioned image set that Visem knows: none of the files dataset_*.json, "
        f"{', '.join(readers)} is there.",
    )


def _no_such_split(root: Path, split: str, listing: _Listing) -> DatasetError:
    known = f"Splits that are there: {', '.join(listing.splits) or 'none'}."
    if split in listing.split_files:
        return DatasetError(
            "dataset_missing",
            f"The list of split {split!r}, {root / listing.split_files[split]}, is missing. {known}",
        )
    return DatasetError("dataset_split_unknown", f"The set in {root} has no split {split!r}. {known}")


def _read_split_lists(root: Path, lists: dict[str, str]) -> dict[str, list[str]]:
    """Image names of each split whose list is there. Lists without file name extensions mean JPEGs."""
    splits = {}
    for split, file_name in lists.items():
        if (root / file_name).is_file():
            names = [line.strip() for line in _read_lines(root / file_name)]
            names = [name if PurePosixPath(name).suffix else f"{name}.jpg" for name in names if name]
            splits[split] = list(dict.fromkeys(names))
    return splits


def _read_tokens(path: Path) -> Captions:
    """Lines of `NAME.jpg#0<TAB>caption`."""
    rows = []
    for number, line in enumerate(_read_lines(path), start=1):
        key, tab, caption = line.partition("\t")
        name, hash_sign, _ = key.rpartition("#")
        if not line.strip():
            continue
        if not tab or not hash_sign:
            raise _malformed(path, number, "NAME.jpg#0<TAB>caption")
        rows.append((name, caption))
    return _gather(rows)


def _read_comma_separated(path: Path) -> Captions:
    """A CSV file with the header `image,caption`. A caption with commas may lack its quotes."""
    reader = csv.reader(io.StringIO(_read_text(path)))
    rows = []
    for row in reader:
        if not row or (reader.line_num == 1 and row[0].strip() == "image"):
            continue
        if len(row) < 2:
            raise _malformed(path, reader.line_num, "image,caption")
        rows.append((row[0].strip(), ",".join(row[1:])))
    return _gather(rows)


def _read_bar_separated(path: Path) -> Captions:
    """Lines of `image_name| comment_number| comment`.

    The public file has a row without its second bar (`2199200615.jpg| 4   A dog runs ...`): read like others.
    """
    rows = []
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip() or (number == 1 and line.startswith("image_name")):
            continue
        row = re.fullmatch(r"\s*([^|]+?)\s*\|\s*\d+(?:\s*\|\s*|\s+)(.*)", line)
        if row is None:
            raise _malformed(path, number, "image_name| comment_number| comment")
        rows.append((row[1], row[2]))
    return _gather(rows)


def _read_karpathy(path: Path) -> _Listing:
    """Karpathy's JSON: `{"images": [{"filepath"?, "filename", "split", "sentences": [{"raw"}]}]}`."""
    captions: Captions = {}
    splits: dict[str, list[str]] = {}
    try:
        images: list[dict[str, Any]] = json.loads(_read_text(path))["images"]
        for image in images:
            name = str(PurePosixPath(image.get("filepath", "")) / image["filename"])
            captions.update(_gather((name, sentence["raw"]) for sentence in image["sentences"]))
            splits.setdefault(_SPLIT_NAMES[image["split"]], []).append(name)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            "dataset_malformed",
            f"{path} is not a split file of Karpathy's form ({type(error).__name__}: {error}). Fetch it again.",
        ) from error
    return _Listing(path.stem.removeprefix("dataset_"), captions, splits, split_files={})


def _gather(rows: Iterable[tuple[str, str]]) -> Captions:
    """Captions by image in the order of the rows; blank ones are dropped."""
    captions: Captions = {}
    for name, caption in rows:
        if stripped := " ".join(caption.split()):
            captions.setdefault(name, []).append(stripped)
    return captions


def _find(name: str, folders: list[Path]) -> Path | None:
    """The image of this name in the first folder that has it, with or without the name's own subfolder."""
    for folder in folders:
        for path in dict.fromkeys((folder / name, folder / PurePosixPath(name).name)):
            if path.is_file():
                return path
    return None


def _read_lines(path: Path) -> list[str]:
    # Not str.splitlines, which also splits at characters that may stand within a caption, such as U+2028.
    return _read_text(path).split("\n")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("dataset_malformed", f"{path} is not UTF-8 text: {error}.") from error


def _malformed(path: Path, line_number: int, form: str) -> DatasetError:
    return DatasetError("dataset_malformed", f"{path}, line {line_number}: not of the form {form}.")
