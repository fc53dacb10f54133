"""Moving a library: everything arrives, bit by bit, whatever the two libraries are made of, and whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import LibraryConfig, NewCaption, NewImage, NewSentence, Space, open_library
from index.catalog import export_rows
from index.errors import ArchiveMismatch, ContentMissing, SourceAway
from index.moving import archive, exporting
from index.moving.exporting import Exported
from index.moving.files import export_library, import_library
from index.moving.importing import Imported
from tests.index.conftest import thumbnail_of
from tests.index.moving.conftest import ALL, COUNT, everything

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]

pytestmark = pytest.mark.usefixtures("small_parts")


def no_thumbnail(content: bytes) -> bytes:
    raise ValueError("nothing can be rendered here")


def move(config: LibraryConfig, target: LibraryConfig, file: Path, **options: Any) -> tuple[Exported, Imported]:
    return export_library(config, file, **options), import_library(target, file, render=no_thumbnail)


def test_everything_arrives_bit_by_bit_in_any_configuration_and_back(
    stocked: LibraryConfig, postgres_url: str, s3_content: str, space: Space, tmp_path: Path
) -> None:
    far = LibraryConfig(tmp_path / "far", catalog=postgres_url, content=s3_content)
    home = LibraryConfig(tmp_path / "home")
    exported, imported = move(stocked, far, tmp_path / "one.tar")
    counts = exported.counts
    assert (counts.images, counts.sentences, counts.captions, counts.contents) == (ALL, 27, 12, COUNT)
    assert (exported.in_place, exported.problems) == (2, [])
    taken = imported.taken
    assert (taken.images.new, taken.sentences.new, taken.captions.new, taken.files.new) == (ALL, 27, 12, 2)
    assert (taken.images.total, taken.conflicts, imported.problems) == (ALL, [], [])
    move(far, home, tmp_path / "two.tar")
    assert everything(far) == everything(home) == everything(stocked)
    with open_library(home, space) as library, open_library(stocked, space) as before:
        assert library.check(deep=True) == []
        hits, others = (one.search(np.ones(32), 50, "images").items for one in (library, before))
        assert hits == others
        assert library.captions.of(hits[0].record.id) == before.captions.of(hits[0].record.id)
        assert library.stats().library_id != before.stats().library_id


def test_importing_again_changes_nothing(stocked: LibraryConfig, space: Space, tmp_path: Path) -> None:
    new = LibraryConfig(tmp_path / "new")
    _, first = move(stocked, new, tmp_path / "file.tar")
    before = everything(new)
    with open_library(new) as library:
        id = library.list_images(limit=1).items[0].id
        library.update_image(id, lambda record: {"mine": True})
    again = import_library(new, tmp_path / "file.tar", render=no_thumbnail).taken
    assert (again.images.new, again.images.known, again.images.refused) == (0, ALL, 0)
    assert (again.sentences.known, again.captions.known, again.files.known) == (27, 12, 2)
    assert again.differing == 1
    with open_library(new) as library:
        assert library.get_image(id).metadata == {"mine": True}
        library.update_image(id, lambda record: first and before["images"][-1][0].metadata)
    assert everything(new) == before


def test_an_interrupted_import_goes_on(
    stocked: LibraryConfig, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_library(stocked, tmp_path / "file.tar")
    new = LibraryConfig(tmp_path / "new")
    for stop_at in range(1, 5):

        def stop(done: int, total: int, at: int = stop_at) -> None:
            if done > at * 9:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            import_library(new, tmp_path / "file.tar", render=no_thumbnail, progress=stop)
        with open_library(new, space) as library:
            assert library.check(deep=True) == []
    taken = import_library(new, tmp_path / "file.tar", render=no_thumbnail).taken
    assert taken.images.known > 0
    assert everything(new) == everything(stocked)


def test_into_a_library_that_has_some_of_it(
    stocked: LibraryConfig, space: Space, image: Image, sentence: Sentence, tmp_path: Path
) -> None:
    new = LibraryConfig(tmp_path / "new")
    with open_library(new, space) as library:
        mine = library.add_images([image(n, metadata={"mine": n}) for n in (0, 400)])
        library.captions.add(mine[0].record.id, [NewCaption("of mine", np.ones(32))])
        library.captions.set(mine[0].record.id, [NewCaption("sentence 2", np.ones(32))])
    _, imported = move(stocked, new, tmp_path / "file.tar")
    assert (imported.taken.images.new, imported.taken.images.known) == (ALL - 1, 1)
    assert imported.taken.differing == 2  # image 0 and sentence 2
    with open_library(new, space) as library:
        assert library.count("images") == ALL + 1
        assert library.get_image(mine[0].record.id).metadata == {"mine": 0}
        captions = library.captions.of(mine[0].record.id)
        assert {one.sentence.text for one in captions if one.origin == "user"} == {"sentence 2", "mine", "sentence 1"}
        assert {"of mine", "a dog"} < {one.sentence.text for one in captions if one.origin == "captioner"}
        assert library.check(deep=True) == []


def test_an_id_of_something_else_is_a_conflict(
    stocked: LibraryConfig, space: Space, image: Image, tmp_path: Path
) -> None:
    export_library(stocked, tmp_path / "file.tar")
    new = LibraryConfig(tmp_path / "new")
    with open_library(stocked) as library, open_library(new, space) as other:
        taken = library.list_images(limit=1000).items[-1]
        made = other.add_images([image(1000)])[0].record.id
        from sqlalchemy import update

        from index.catalog import schema

        other._catalog._database.write(  # type: ignore[attr-defined]
            lambda connection: connection.execute(
                update(schema.images).where(schema.images.c.id == made).values(id=taken.id)
            )
        )
    imported = import_library(new, tmp_path / "file.tar", render=no_thumbnail)
    assert imported.taken.images.refused == 1
    assert taken.id in imported.taken.conflicts[0]
    assert imported.taken.captions.refused == 4  # what it was captioned by
    with open_library(new) as library:
        assert library.count("images") == ALL
        assert library.check(deep=True) == []


def test_vectors_of_another_space_are_refused(
    stocked: LibraryConfig, other_space: Space, tmp_path: Path, image: Image
) -> None:
    export_library(stocked, tmp_path / "file.tar")
    with open_library(LibraryConfig(tmp_path / "new"), other_space) as library:
        library.add_sentences([NewSentence("one", np.ones(other_space.dimension))])
    with pytest.raises(ArchiveMismatch, match="visem reindex"):
        import_library(LibraryConfig(tmp_path / "new"), tmp_path / "file.tar", render=no_thumbnail)


def test_it_is_of_one_moment_while_others_add_and_delete(
    stocked: LibraryConfig, image: Image, space: Space, tmp_path: Path
) -> None:
    stop = threading.Event()

    def churn() -> None:
        number = 1000
        with open_library(stocked, space) as library:
            while not stop.is_set():
                added = library.add_images([image(number), image(number + 1)])
                library.captions.add(added[0].record.id, [NewCaption(f"caption {number}", np.ones(32))])
                library.delete_images([one.record.id for one in added])
                number += 2

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for n in range(3):
            assert export_library(stocked, tmp_path / f"{n}.tar").problems == []
    finally:
        stop.set()
        thread.join()
    for n in range(3):
        new = LibraryConfig(tmp_path / f"{n}")
        assert import_library(new, tmp_path / f"{n}.tar", render=no_thumbnail).taken.captions.refused == 0
        with open_library(new, space) as library:
            assert library.check(deep=True) == []
            numbers = {one.metadata.get("number") for one in library.list_images(limit=1000).items}
            assert set(range(4, COUNT)) <= numbers


def test_an_image_deleted_while_its_file_is_read_is_left_out_with_its_captions(
    stocked: LibraryConfig, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = exporting.Exporting._spool

    def delete_then(self: Any, *arguments: Any) -> Any:
        header = spool(self, *arguments)
        with open_library(stocked, space) as library:
            library.delete_images([one.id for one in library.list_images(limit=1000).items[-5:]])
        return header

    monkeypatch.setattr(exporting.Exporting, "_spool", delete_then)
    exported, imported = move(stocked, LibraryConfig(tmp_path / "new"), tmp_path / "file.tar")
    assert (exported.deleted, exported.problems, exported.counts.images) == (5, [], ALL - 5)
    assert (exported.counts.sentences, exported.counts.captions) == (21, 0)  # those of people stay
    assert imported.taken.images.new == ALL - 5
    assert everything(LibraryConfig(tmp_path / "new")) == everything(stocked)


def test_what_is_lost_or_damaged_is_told_and_left_out(
    stocked: LibraryConfig, path_of: Callable[..., Path], tmp_path: Path, space: Space
) -> None:
    with open_library(stocked, space) as library:
        lost, damaged, bare, away, _ = (one.id for one in library.list_images(limit=5).items[::-1])
        path_of(library, lost).unlink()
        path_of(library, damaged).write_bytes(b"x")
        path_of(library, bare, "thumbnail").unlink()
        path_of(library, away).unlink()
    exported = export_library(stocked, tmp_path / "file.tar")
    assert len(exported.problems) == 2  # files in place are their owner's
    assert lost in exported.problems[0]
    assert damaged in exported.problems[1]
    imported = import_library(LibraryConfig(tmp_path / "new"), tmp_path / "file.tar", render=thumbnail_of)
    assert imported.taken.images.new == ALL - 2
    with open_library(LibraryConfig(tmp_path / "new"), space) as library, library.open_file(bare, "thumbnail") as made:
        assert made.content.read().startswith(b"\xff\xd8")
    assert len(export_library(stocked, tmp_path / "copies.tar", copies=True).problems) == 3


def test_images_in_place_stay_in_place_or_become_copies(
    stocked: LibraryConfig, photos: Path, space: Space, tmp_path: Path
) -> None:
    new, copied = LibraryConfig(tmp_path / "new"), LibraryConfig(tmp_path / "copied")
    _, imported = move(stocked, new, tmp_path / "file.tar")
    assert (imported.in_place, imported.sources) == (2, (str(photos),))
    exported, imported = move(stocked, copied, tmp_path / "copies.tar", copies=True)
    assert (exported.counts.contents, exported.counts.sources, exported.counts.files) == (ALL, 0, 0)
    with open_library(new, space) as library:
        [source] = library.sources.all()
        assert (source.root, source.paused) == (str(photos), True)
        ids = [one.id for one in library.list_images(limit=2).items]
        with library.open_file(ids[0], "content") as file:
            assert not file.lasting
    moved = photos.rename(tmp_path / "elsewhere")
    away = LibraryConfig(tmp_path / "away")
    import_library(away, tmp_path / "file.tar", render=no_thumbnail)
    for config in (new, away):
        with open_library(config, space) as library:
            with pytest.raises(SourceAway):
                library.open_file(ids[0], "content")
            assert library.count("images") == ALL
    with open_library(copied, space) as library, library.open_file(ids[0], "content") as file:
        assert file.lasting
        assert library.check(deep=True) == []
    moved.rename(photos)
    with open_library(away, space) as library, library.open_file(ids[0], "content") as file:  # it is compared now
        assert not file.lasting
    (photos / "500.png").write_bytes(b"changed 500")
    with open_library(away, space) as library, pytest.raises(ContentMissing):
        library.open_file(ids[1], "content")


def test_a_sentence_may_be_a_caption_of_any_number_of_images(
    config: LibraryConfig, space: Space, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "_CAPTIONS", 4)
    with open_library(config, space) as library:
        for one in library.add_images([image(n) for n in range(11)]):
            library.captions.add(one.record.id, [NewCaption("a dog", np.ones(32)), NewCaption("a cat", np.ones(32))])
    new = LibraryConfig(tmp_path / "new")
    exported, imported = move(config, new, tmp_path / "file.tar")
    assert (exported.counts.sentences, exported.counts.captions) == (2, 22)
    assert (imported.taken.sentences.new, imported.taken.captions.new) == (2, 22)
    again = import_library(new, tmp_path / "file.tar", render=no_thumbnail)
    assert (again.taken.sentences.known, again.taken.captions.known) == (2, 22)
    assert everything(new) == everything(config)


def test_large_images_are_parts_of_their_own(
    config: LibraryConfig, space: Space, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PART_BYTES", 1000)
    with open_library(config, space) as library:
        library.add_images([replace(image(n), content=bytes([n]) * (700 if n % 2 else 10)) for n in range(1, 12)])
    with watched_parts(monkeypatch) as sizes:
        move(config, LibraryConfig(tmp_path / "new"), tmp_path / "file.tar")
    assert max(sizes) <= 1000
    assert everything(LibraryConfig(tmp_path / "new")) == everything(config)


@contextmanager
def watched_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    sizes: list[int] = []
    add = archive.ArchiveWriter.part

    def part(self: Any, files: Any) -> None:
        sizes.append(sum(len(data) for name, data in files.items() if name.startswith("content/")))
        add(self, files)

    monkeypatch.setattr(archive.ArchiveWriter, "part", part)
    yield sizes


def test_an_empty_library(config: LibraryConfig, space: Space, tmp_path: Path) -> None:
    open_library(config, space).close()
    exported, imported = move(config, LibraryConfig(tmp_path / "new"), tmp_path / "file.tar")
    assert (exported.counts.images, imported.taken.images.total) == (0, 0)
    with open_library(LibraryConfig(tmp_path / "new"), space) as library:
        assert library.space.agrees_with(space)


def test_files_of_exports(stocked: LibraryConfig, tmp_path: Path) -> None:
    """Nothing is overwritten, nobody else can read it, and two do not write the same file."""
    file = tmp_path / "file.tar"
    assert export_library(stocked, file).counts.images == ALL
    assert file.stat().st_mode & 0o777 == 0o600
    for taken in (file, tmp_path / "link"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileExistsError):
            export_library(stocked, taken)

    def second(done: int, total: int) -> None:
        with pytest.raises(FileExistsError, match="Another export"):
            export_library(stocked, tmp_path / "twice.tar")

    assert export_library(stocked, tmp_path / "twice.tar", progress=second).counts.images == ALL
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == ["file.tar", "twice.tar"]
