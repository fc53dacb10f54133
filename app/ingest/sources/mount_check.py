"""Whether what a walk found is the folder that is remembered, or something else in its place.

A folder can be listed without a problem while its files are elsewhere: an empty mount point, another disk in the same
place, a link where a folder was. Nothing that was remembered may be taken for gone then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from pathlib import PurePosixPath

from app.ingest.sources.walking import TOP, Walk, beneath
from index import KnownFile, Signature, Source

_LOOKED_INTO = 32
"""Most files whose content is read to find out whether the folder is the one that is remembered."""

HasContent = Callable[[str, str], bool]
"""Tells whether the file at a path has the content of one that was below a folder."""


def reason_away(
    source: Source,
    known: Mapping[str, KnownFile],
    walk: Walk,
    found: Mapping[str, Signature],
    has_content: HasContent,
) -> str | None:
    """Say why the folder seems not to be there; None if it does. `found` are the files of the walk."""
    present = _present(known, TOP)
    if not present:
        return None
    if TOP in source.mounts and TOP not in walk.mounts and not present.keys() <= found.keys():
        return "Nothing is mounted on the folder any more."
    if walk.unreadable:
        present = {path: signature for path, signature in present.items() if cover(path, walk.unreadable) is None}
    if not present or _is_familiar(present, found, TOP, has_content):
        return None
    if not found:
        return f"The folder is empty, where {len(present):,} photographs were. Is something to be mounted on it?"
    return (
        f"None of the {len(present):,} photographs that were in the folder is there. Is another disk mounted on it? If "
        "they were replaced for good, forget the source and add it again."
    )


def mounts_away(
    source: Source,
    known: Mapping[str, KnownFile],
    walk: Walk,
    found: Mapping[str, Signature],
    has_content: HasContent,
) -> dict[str, str]:
    """Say, by folder, on which folders in the source what was mounted is mounted no more."""
    away: dict[str, str] = {}
    for mount in source.mounts:
        present = _present(known, mount) if mount != TOP and cover(mount, walk.unreadable) is None else {}
        if not present or present.keys() <= found.keys():
            continue
        here = {path: signature for path, signature in found.items() if beneath(path, mount)}
        if mount not in walk.mounts:
            away[mount] = "nothing is mounted on it any more"
        elif not _is_familiar(present, here, mount, has_content):
            away[mount] = f"none of the {len(present):,} photographs that were there is mounted on it"
    return away


def in_their_place(root: str, paths: Iterable[str]) -> dict[str, str]:
    """Look at files that a walk did not find; return where something is that speaks against their being gone, and what.

    A file is gone if there is nothing at its path, or a folder, or if a folder above it is gone.
    """
    looked: dict[str, str | None] = {}
    reasons: dict[str, str] = {}
    for path in paths:
        for folder in [*reversed(PurePosixPath(path).parents)][1:]:
            name = str(folder)
            if name not in looked:
                looked[name] = _what_is(root, name, is_folder=True)
            if looked[name] is not None:
                break
        else:
            name = path
            looked[name] = _what_is(root, name, is_folder=False)
        if reason := looked[name]:
            reasons[name] = reason
    return reasons


def cover(path: str, folders: Collection[str]) -> str | None:
    """Return which of these folders a path is, or is in."""
    if not folders:
        return None
    while path and path not in folders:
        path = path.rpartition("/")[0]
    return path or (TOP if TOP in folders else None)


def _what_is(root: str, path: str, *, is_folder: bool) -> str | None:
    """Say what is in the place of a file or folder; "" if it is gone, None for a folder that is one."""
    try:
        mode = os.lstat(f"{root}/{path}").st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be looked at: {error.strerror or error}"
    if stat.S_ISLNK(mode):
        return "a link is in its place, and links are not followed"
    if stat.S_ISDIR(mode):
        return None if is_folder else ""
    return "a file is in its place" if is_folder else "it is there, though it was not listed"


def _present(known: Mapping[str, KnownFile], folder: str) -> dict[str, Signature]:
    return {path: one.signature for path, one in known.items() if one.state == "present" and beneath(path, folder)}


def _is_familiar(
    present: Mapping[str, Signature], found: Mapping[str, Signature], folder: str, has_content: HasContent
) -> bool:
    """Tell whether a file that was there is, perhaps moved; or whether all are, though they were edited."""
    if any(found.get(path) == signature for path, signature in present.items()) or present.keys() <= found.keys():
        return True
    signatures = set(present.values())
    if any(signature in signatures for signature in found.values()):
        return True
    sizes = {signature.size for signature in present.values()}
    alike = (path for path, signature in found.items() if signature.size in sizes)
    return any(has_content(path, folder) for path in islice(alike, _LOOKED_INTO))
