"""Archives that are damaged, and archives that somebody made to do harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from index import LibraryConfig, NewCaption, NewImage, NewSentence, Space, open_library
from index.catalog import export_rows
from index.errors import ArchiveDamaged
from index.moving.archive import ArchiveReader, ArchiveWriter, DamagedError
from index.moving.files import export_library, import_library
from index.types.moving import Counts, Header
from tests.index.conftest import REPOSITORY

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def file(
    space: Space,
    image: Callable[..., NewImage],
    sentence: Callable[..., NewSentence],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A small archive with three parts, which no test changes."""
    folder = tmp_path_factory.mktemp("archive")
    config = LibraryConfig(folder / "library")
    with open_library(config, space) as library:
        added = library.add_images([image(n) for n in range(6)])
        library.add_sentences([sentence(n) for n in range(2)])
        library.captions.add(added[0].record.id, [NewCaption("a dog", np.ones(32))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_rows, "_BATCH", 4)
        export_library(config, folder / "file.tar")
    return folder / "file.tar"


def refuse(content: bytes) -> bytes:
    raise ValueError("it is no picture")


def attempt(file: Path, target: Path) -> str:
    """Import a file; why it was refused. Whatever has come is whole."""
    with pytest.raises(ArchiveDamaged) as caught:
        import_library(LibraryConfig(target), file, render=refuse)
    if (target / "catalog.sqlite").exists():
        with open_library(LibraryConfig(target)) as library:
            assert library.check(deep=True) == []
    return str(caught.value)


def forged(file: Path, target: Path, change: Callable[[int, Files], Files | None], **header: Any) -> Path:
    """Write an archive anew, with right sums, after something was changed in its parts."""
    with file.open("rb") as source, target.open("wb") as made:
        reader = ArchiveReader(source)
        writer = ArchiveWriter(made, Header.model_construct(**{**dict(reader.header), **header}))
        for number, files in enumerate(reader.parts(), 1):
            changed = change(number, files)
            if changed is not None:
                writer.part(changed)
        writer.end(reader.counts)
    return target


def in_line(name: str, **fields: Any) -> Callable[[int, Files], Files]:
    """Change the first line of a file of the first part that has it."""
    done: list[bool] = []

    def change(number: int, files: Files) -> Files:
        if name not in files or done:
            return files
        done.append(True)
        first, _, rest = files[name].partition(b"\n")
        return {**files, name: json.dumps({**json.loads(first), **fields}).encode() + b"\n" + rest}

    return change


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.8, 0.99, 0.9999])
def test_what_ends_too_early_is_told_and_can_go_on(file: Path, tmp_path: Path, share: float, space: Space) -> None:
    data = file.read_bytes()
    used = data.rstrip(b"\0")
    (tmp_path / "cut.tar").write_bytes(used[: int(len(used) * share)])
    assert "repeat the import" in attempt(tmp_path / "cut.tar", tmp_path / "new")
    assert import_library(LibraryConfig(tmp_path / "new"), file, render=refuse).taken.images.total == 6
    with open_library(LibraryConfig(tmp_path / "new"), space) as library:
        assert library.count("images") == 6


def test_every_flipped_bit_is_noticed(file: Path) -> None:
    """Also those that tar itself does not use."""
    data = file.read_bytes()
    for n, position in enumerate(range(0, len(data), len(data) // 2000)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (n % 8)
        with pytest.raises(DamagedError):
            list(ArchiveReader(io.BytesIO(flipped)).parts())


EVIL_NAMES = (
    "../evil",
    "/evil",
    "000001/../../evil",
    "000001/content/../evil",
    "1/images.jsonl",
    "000002/images.jsonl",
    "x" * 90,
)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_members_of_any_other_kind_or_name_are_refused(file: Path, tmp_path: Path, kind: bytes) -> None:
    for name in EVIL_NAMES:
        with file.open("rb") as source, (tmp_path / "evil.tar").open("wb") as made:
            ArchiveWriter(made, ArchiveReader(source).header)
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "" if kind == tarfile.REGTYPE else "/etc/passwd"
            made.write(member.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
        assert "does not belong there" in attempt(tmp_path / "evil.tar", tmp_path / "new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar", "new"]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extended_headers_are_refused(tmp_path: Path, format: int) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w", format=format) as archive:
        member = tarfile.TarInfo("000001/content/" + "a" * 300)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    attempt(tmp_path / "evil.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_sizes_that_a_header_only_claims_take_no_memory(file: Path, tmp_path: Path) -> None:
    content = f"000001/content/{'a' * 64}"
    claims = [("library.json", 2**40), ("library.json", -1), ("end.json", 2**33), ("000001/images.jsonl", 2**40)]
    claims += [("000001/images.npy", 2**27), (content, 2**31), (content, 2**30)]
    evil = [tmp_path / f"{n}.tar" for n in range(len(claims))]
    for path, (name, size) in zip(evil, claims, strict=True):
        with file.open("rb") as source, path.open("wb") as made:
            if name != "library.json":
                ArchiveWriter(made, ArchiveReader(source).header)
            member = tarfile.TarInfo(name)
            member.size = size
            made.write(member.tobuf(tarfile.GNU_FORMAT))
    code = (
        "import resource, sys; from pathlib import Path; from index.moving.archive import ArchiveReader, DamagedError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: list(ArchiveReader(open(path, 'rb')).parts())\n"
        "    except DamagedError: print('damaged')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, *evil]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout  # noqa: S603
    assert output.split() == [*["damaged"] * len(claims), "True"]


def test_arrays_that_only_claim_to_be_large_or_hold_objects_are_refused(file: Path, tmp_path: Path) -> None:
    def claim(shape: tuple[int, ...], kind: str) -> bytes:
        buffer = io.BytesIO()
        header = {"shape": shape, "fortran_order": False, "descr": kind}
        np.lib.format.write_array_header_1_0(buffer, header)
        return buffer.getvalue() + bytes(256)

    pickled = io.BytesIO()
    np.save(pickled, np.array([[{}] * 32] * 4, dtype=object), allow_pickle=True)
    for evil in (claim((10**12, 32), "<f2"), claim((4, 10**12), "<f2"), claim((4, 32), "|O"), pickled.getvalue(), b"x"):
        made = forged(
            file, tmp_path / "evil.tar", lambda n, files, evil=evil: {**files, "images.npy": evil} if n == 1 else files
        )
        assert "images.npy" in attempt(made, tmp_path / "new")
    for vectors in (np.zeros((4, 32)), np.full((4, 32), np.nan), np.full((4, 32), 7.0), np.full((3, 32), 32**-0.5)):
        buffer = io.BytesIO()
        np.save(buffer, vectors.astype(np.float16))
        evil = buffer.getvalue()
        made = forged(
            file, tmp_path / "evil.tar", lambda n, files, evil=evil: {**files, "images.npy": evil} if n == 1 else files
        )
        assert "images.npy" in attempt(made, tmp_path / "new")


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../../x"},
        {"id": "x" * 65},
        {"id": 7},
        {"sha256": "A" * 64},
        {"sha256": "../" + "a" * 61},
        {"media_type": "text/html"},
        {"media_type": "image/svg+xml"},
        {"media_type": "image/png\r\nX: y"},
        {"width": -1},
        {"size": 5},
        {"size": 10**30},
        {"created_at": "yesterday"},
        {"created_at": "2024-05-01T00:00:00"},
        {"metadata": []},
        {"metadata": {"x": "y" * 20_000}},
        {"concepts": [["dog", "much"]]},
        {"facts": {"place": [91, 0]}},
        {"facts": {"surprise": 1}},
        {"in_place": {}},
        {"files": [{"source": "a", "path": "x", "size": 1, "mtime_ns": 1, "inode": 1, "state": "present"}]},
        {"captions_owed": {"count": 10**9}},
        {"surprise": True},
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)
def test_records_that_are_none_are_refused(file: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    attempt(forged(file, tmp_path / "evil.tar", in_line("images.jsonl", **fields)), tmp_path / "new")
    with open_library(LibraryConfig(tmp_path / "new")) as library:
        assert library.count("images") == 0


@pytest.mark.parametrize(
    "fields",
    [{"text": " a"}, {"text": ""}, {"text": "a" * 70_000}, {"origin": "user"}, {"captions": [{"image": "x"}]}],
    ids=lambda fields: json.dumps(fields)[:40],
)
def test_sentences_that_are_none_are_refused(file: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    attempt(forged(file, tmp_path / "evil.tar", in_line("sentences.jsonl", **fields)), tmp_path / "new")


def test_lines_that_are_no_json_are_refused(file: Path, tmp_path: Path) -> None:
    for line in (b"{", b"[" * 100_000, b'{"size":' + b"9" * 10_000 + b"}", b'"\\ud800"', b"\xff\xfe", b"NaN", b"\n\n"):
        made = forged(
            file,
            tmp_path / "evil.tar",
            lambda n, files, line=line: {**files, "images.jsonl": line} if n == 1 else files,
        )
        attempt(made, tmp_path / "new")


def test_parts_that_are_missing_or_come_twice_are_noticed(file: Path, tmp_path: Path) -> None:
    assert "it says that it has" in attempt(
        forged(file, tmp_path / "evil.tar", lambda n, files: None if n == 2 else files), tmp_path / "new"
    )

    def twice(number: int, files: Files) -> Files:
        lines = files.get("images.jsonl", b"").splitlines(keepends=True)
        return {**files, "images.jsonl": b"".join([lines[0], lines[0], *lines[2:]])} if number == 1 else files

    assert "twice" in attempt(forged(file, tmp_path / "twice.tar", twice), tmp_path / "new2")


def test_contents_that_belong_to_no_image_are_refused(file: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    name = f"content/{sha256(b'evil').hexdigest()}"
    made = forged(file, tmp_path / "evil.tar", lambda n, files: {**files, name: b"evil"} if n == 1 else files)
    attempt(made, tmp_path / "new")
    made = forged(file, tmp_path / "evil.tar", lambda n, files: {**files, f"content/{'a' * 64}": b"evil"})
    assert "not what was exported" in attempt(made, tmp_path / "new")
    assert not list((tmp_path / "new" / "content").glob("*/*"))


@pytest.mark.parametrize("version", [{"version": 2}, {"format": "something-else"}])
def test_another_version_is_told(file: Path, tmp_path: Path, version: dict[str, Any]) -> None:
    made = forged(file, tmp_path / "evil.tar", lambda n, files: files, **version)
    assert "newer version of Visem" in attempt(made, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("evil", ["html", "bomb"])
def test_thumbnails_are_small_jpegs_or_made_again(file: Path, tmp_path: Path, evil: str) -> None:
    if evil == "html":
        data = b"<script>alert(1)</script>"
    else:
        buffer = io.BytesIO()
        Pillow.new("L", (9000, 9000)).save(buffer, "JPEG")
        data = buffer.getvalue()

    def change(number: int, files: Files) -> Files:
        return {name: data if name.startswith("thumbnails/") else content for name, content in files.items()}

    made = forged(file, tmp_path / "evil.tar", change)
    imported = import_library(LibraryConfig(tmp_path / "new"), made, render=refuse)
    assert (imported.taken.images.new, imported.taken.images.refused, len(imported.problems)) == (0, 6, 6)
    assert not list((tmp_path / "new" / "thumbnails").glob("*/*"))


def source(root: str, path: str, **fields: Any) -> Callable[[int, Files], Files]:
    """The first image says that its file is in a folder in place."""

    def change(number: int, files: Files) -> Files:
        if number != 1:
            return files
        first, *rest = files["images.jsonl"].splitlines(keepends=True)
        record = json.loads(first)
        file = {"source": "s", "path": path, "size": 9, "mtime_ns": 1, "inode": 1, "state": "present"}
        record |= {"in_place": {}, "files": [{**file, "sha256": record["sha256"], **fields}]}
        kept = {name: data for name, data in files.items() if name != f"content/{record['sha256']}"}
        lines = json.dumps(record).encode() + b"\n" + b"".join(rest)
        return {**kept, "sources.jsonl": json.dumps({"id": "s", "root": root}).encode(), "images.jsonl": lines}

    return change


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        *(("/a", path) for path in ("../x", "/x", "x/./y", "%2e%2e/x", "x%00", "")),
        *((root, "x") for root in ("relative", "/a/../b", "//a", "/a%00b", "")),
    ],
    ids=lambda path: f"{len(path)}",
)
def test_paths_that_lead_elsewhere_are_refused(file: Path, tmp_path: Path, folder: str, path: str) -> None:
    attempt(forged(file, tmp_path / "evil.tar", source(folder, path)), tmp_path / "new")


def test_no_archive_makes_a_library_show_files_that_its_maker_does_not_have(
    file: Path, tmp_path: Path, space: Space
) -> None:
    """It may name any file, and even know what it looks like: it is served only to whoever had its content."""
    secret = tmp_path / "secrets" / "letter.png"
    secret.parent.mkdir()
    secret.write_bytes(b"something")
    status = secret.stat()
    looks = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
    with file.open("rb") as opened:
        reader = ArchiveReader(opened)
        list(reader.parts())
        counts = reader.counts
    made = tmp_path / "evil.tar"
    change = source(str(secret.parent), secret.name, **looks)
    with file.open("rb") as opened, made.open("wb") as written:
        reader = ArchiveReader(opened)
        writer = ArchiveWriter(written, reader.header)
        for number, files in enumerate(reader.parts(), 1):
            writer.part(change(number, files))
        less = {"sources": 1, "files": 1, "contents": counts.contents - 1, "content_bytes": counts.content_bytes - 9}
        writer.end(Counts(**{**dict(counts), **less}))
    imported = import_library(LibraryConfig(tmp_path / "new"), made, render=refuse)
    assert imported.taken.images.new == 6
    with open_library(LibraryConfig(tmp_path / "new"), space) as library:
        [place] = library.sources.all()
        assert place.paused, "nobody goes through that folder before its owner says so"
        first = library.list_images(limit=10).items[-1]
        with pytest.raises(FileNotFoundError):
            library._content.open(first.sha256, "content")
