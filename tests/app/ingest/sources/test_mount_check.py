"""Sources that can be listed while their files are elsewhere: nothing is lost, and nothing marked as missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.ingest.sources import passes
from app.ingest.sources.progress import PassProgress
from app.service import Service
from index import Source
from tests.app.helpers import picture
from tests.app.ingest.sources.helpers import did, ids

Go = Callable[..., PassProgress]


@pytest.mark.parametrize("how", ["gone", "empty", "something else", "a link"])
def test_a_folder_that_is_not_mounted_loses_nothing(service: Service, photos: Path, go: Go, how: str) -> None:
    (photos / "2023" / "0.jpg").write_bytes(picture(0, 400, 300))  # large enough for a thumbnail
    go()
    before = ids(service)
    elsewhere = photos.rename(photos.parent / "unmounted")
    if how == "a link":
        photos.symlink_to(elsewhere)
    elif how != "gone":
        photos.mkdir()
    if how == "something else":
        (photos / "README").write_text("not mounted")
        (photos / "lost+found").mkdir()
    progress = go(prune=True)
    assert progress.away
    assert (progress.missing, progress.pruned) == (0, 0)
    now = service.sources.get(service.library.sources.all()[0].id)
    assert (now.source.state, now.source.reason) == ("away", progress.away)
    assert ids(service) == before
    with service.image_thumbnail(before["0.jpg"]) as file:
        assert file.content.read()
    if how == "a link":
        photos.unlink()
    elif how != "gone":
        shutil.rmtree(photos)
    elsewhere.rename(photos)
    assert did(go()) == {"unchanged": 6}
    assert service.library.sources.all()[0].state == "ready"
    assert ids(service) == before


def test_a_folder_in_it_that_is_not_mounted_loses_nothing(
    service: Service, photos: Path, source: Source, go: Go
) -> None:
    go()
    service.library.sources.note(source.id, "ready", None, ["2024"])  # as if something had been mounted there
    before = ids(service)
    (photos / "2024").rename(photos.parent / "2024")
    for _ in range(2):
        progress = go()
        assert (progress.missing, progress.kept) == (0, {"2024": "nothing is mounted on it any more"})
        (photos / "2024").mkdir(exist_ok=True)
    assert ids(service) == before
    assert "2024" in str(service.library.sources.get(source.id).reason)


def test_a_folder_that_cannot_be_read_loses_nothing(
    service: Service, photos: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    go()
    before = ids(service)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("2024"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert did(go(prune=True)) == {"unchanged": 3, "refused": 1}
    assert ids(service) == before
    monkeypatch.setattr(os, "scandir", scandir)
    assert did(go()) == {"unchanged": 6}
    assert service.library.sources.counts(service.library.sources.all()[0].id) == {"present": 6}


def test_a_sleeping_disk(service: Service, photos: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    go()
    before = ids(service)
    (photos / "2023" / "0.jpg").write_bytes(picture(100))
    (photos / "2023" / "9.jpg").write_bytes(picture(9))
    real = passes.open_below

    def fail(root: str, path: str) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(passes, "open_below", fail)
    assert did(go()) == {"unchanged": 5, "refused": 2}
    assert did(go(prune=True)) == {"unchanged": 5, "refused": 2}
    assert ids(service) == before  # what cannot be read is not missing
    monkeypatch.setattr(passes, "open_below", real)
    assert did(go()) == {"unchanged": 5, "created": 1, "changed": 1}  # without anybody asking for it
    assert ids(service)["0.jpg"] == before["0.jpg"]


def test_another_disk_in_its_place_is_left_alone(service: Service, photos: Path, go: Go) -> None:
    go()
    before = {record.id: record.sha256 for record in service.list_images(limit=100).items}
    elsewhere = photos.rename(photos.parent / "unmounted")
    (photos / "2023").mkdir(parents=True)
    for number in (0, 8, 9):  # a camera counts again from the same names
        (photos / "2023" / f"{number}.jpg").write_bytes(picture(number + 50))
    (photos / "2023" / "photo").write_bytes(picture(90))
    for _ in range(2):
        progress = go(prune=True)
        assert "None of the 6 photographs" in str(progress.away)
        assert did(progress) == {}
    assert {record.id: record.sha256 for record in service.list_images(limit=100).items} == before
    shutil.rmtree(photos)
    elsewhere.rename(photos)
    assert did(go(prune=True)) == {"unchanged": 6}


@pytest.mark.parametrize("how", ["edited", "moved", "copied back"])
def test_the_same_folder_is_known_again_whatever_was_done_to_all_its_files(
    service: Service, photos: Path, go: Go, how: str
) -> None:
    go()
    before = {record.id for record in service.list_images(limit=100).items}
    if how == "edited":
        for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
            path.write_bytes(picture(number + 50))
        assert did(go()) == {"changed": 6}
    elif how == "moved":
        photos.rename(photos.parent / "other")
        photos.mkdir()
        (photos.parent / "other").rename(photos / "deeper")
        assert did(go()) == {"recognised": 6}
    else:  # from a backup that kept neither times nor folders
        data = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
        shutil.rmtree(photos)
        photos.mkdir()
        for number, one in enumerate(data):
            (photos / f"restored-{number}.jpg").write_bytes(one)
        assert did(go()) == {"recognised": 6}
    assert {record.id for record in service.list_images(limit=100).items} == before


@pytest.mark.parametrize("left", ["empty", "a file", "old copies", "another disk"])
def test_a_mount_within_that_is_gone_loses_nothing(
    service: Service, photos: Path, source: Source, go: Go, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    go()
    before = {record.id: record.sha256 for record in service.list_images(limit=100).items}
    service.library.sources.note(source.id, "ready", None, ["2024"])  # as if something had been mounted there
    (photos / "2024").rename(photos.parent / "2024")
    (photos / "2024").mkdir()
    if left == "a file":
        (photos / "2024" / "README").write_text("not mounted")
    elif left == "old copies":
        (photos / "2024" / "3.jpg").write_bytes(picture(70))
    elif left == "another disk":
        (photos / "2024" / "3.jpg").write_bytes(picture(70))
        (photos / "2024" / "7.jpg").write_bytes(picture(71))
        from app.ingest.sources import walking

        monkeypatch.setattr(walking, "_mounted_below", lambda root: {"2024"})
    for _ in range(2):
        progress = go(prune=True)
        assert did(progress) == {"unchanged": 3}
        assert list(progress.kept) == ["2024"]
    assert {record.id: record.sha256 for record in service.list_images(limit=100).items} == before
    shutil.rmtree(photos / "2024")
    (photos.parent / "2024").rename(photos / "2024")
    assert did(go(prune=True)) == {"unchanged": 6}


@pytest.mark.parametrize("what", ["link", "file", "dangling link", "link for a file"])
def test_what_takes_the_place_of_a_folder_or_file_loses_nothing(
    service: Service, photos: Path, go: Go, what: str
) -> None:
    go()
    before = ids(service)
    place = photos / "2024" / ("3.jpg" if what == "link for a file" else "")
    elsewhere = place.rename(photos.parent / "elsewhere")
    if what == "file":
        place.write_text("2024 is on the other disk")
    else:
        place.symlink_to("/nowhere" if what.startswith("dangling") else elsewhere)
    progress = go(prune=True)
    assert (progress.missing, progress.pruned) == (0, 0)
    assert len(progress.kept) in (1, 3)
    assert all("in its place" in reason for reason in progress.kept.values())
    assert ids(service) == before
    place.unlink()
    elsewhere.rename(place)
    assert go(prune=True).unchanged == 6


@pytest.mark.parametrize("moment", ["in a folder", "between folders"])
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_folder_that_goes_during_a_pass_loses_nothing(
    service: Service, photos: Path, go: Go, monkeypatch: pytest.MonkeyPatch, moment: str, comes_back: bool
) -> None:
    go()
    before = ids(service)
    away = photos.parent / "unmounted"
    scandir = os.scandir

    def unmount() -> None:
        if not away.exists():
            photos.rename(away)
            photos.mkdir()

    def mount() -> None:
        if away.exists():
            photos.rmdir()
            away.rename(photos)

    class Vanishing:
        """A listing whose folder goes after the names were read."""

        def __init__(self, path: str) -> None:
            self.entries = scandir(path)
            self.here = path.endswith("2024")

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            listed = list(self.entries)
            if self.here and moment == "in a folder":
                unmount()
            return iter(listed)

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    def listed(path: str) -> Vanishing:
        if path.endswith("2024") and moment == "between folders":
            unmount()
        return Vanishing(path)

    from app.ingest.sources.walking import Walk

    still_there = Walk.is_still_there

    def look(walk: Walk) -> bool:
        if comes_back:
            mount()
        return still_there(walk)

    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(Walk, "is_still_there", look)
    progress = go(prune=True)
    monkeypatch.undo()
    assert progress.away or comes_back
    assert (progress.missing, progress.pruned) == (0, 0)
    assert ids(service) == before
    mount()
    assert did(go(prune=True)) == {"unchanged": 6}
    assert ids(service) == before


@pytest.mark.parametrize("code", [5, 13, 107, 116])  # input/output, permission, not connected, stale handle
@pytest.mark.parametrize("where", ["root", "folder", "one file"])
def test_errors_in_the_middle_of_a_listing_lose_nothing(
    service: Service, photos: Path, go: Go, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    go()
    before = ids(service)
    scandir = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name
            self.entry = entry

        def is_symlink(self) -> bool:
            return self.entry.is_symlink()

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            if where == "one file" and self.name == "4.jpg":
                raise OSError(code, os.strerror(code))
            return self.entry.stat(follow_symlinks=follow_symlinks)

    class Failing:
        """A listing that breaks off after its first name."""

        def __init__(self, path: str) -> None:
            self.entries = scandir(path)
            self.fails = path.endswith({"root": "photos/", "folder": "2024"}.get(where, "never"))

        def __enter__(self) -> Iterator[Entry]:
            return self._entries()

        def _entries(self) -> Iterator[Entry]:
            for entry in self.entries:
                yield Entry(entry)
                if self.fails:
                    raise OSError(code, os.strerror(code))

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Failing)
    progress = go(prune=True)
    monkeypatch.setattr(os, "scandir", scandir)
    assert (progress.missing, progress.pruned) == (0, 0)
    assert progress.away if where == "root" else progress.kept
    assert ids(service) == before
    with service.image_content(before["4.jpg"]) as file:
        assert file.content.read() == picture(4)
    assert did(go(prune=True)) == {"unchanged": 6}


def test_an_image_whose_file_was_spoilt_is_not_pruned(service: Service, photos: Path, go: Go) -> None:
    go()
    before = ids(service)
    path = photos / "2023" / "0.jpg"
    path.write_bytes(b"")  # as a full disk leaves it
    assert did(go(prune=True)) == {"unchanged": 5, "refused": 1}
    assert did(go(prune=True)) == {"unchanged": 6}
    path.write_bytes(picture(0))
    assert did(go(prune=True)) == {"unchanged": 5, "recognised": 1}
    assert ids(service) == before


def test_what_went_missing_is_not_pruned_while_its_folder_is_away(
    service: Service, photos: Path, source: Source, go: Go
) -> None:
    go()
    before = ids(service)
    (photos / "2024" / "3.jpg").rename(photos.parent / "3.jpg")
    assert did(go()) == {"unchanged": 5, "missing": 1}
    service.library.sources.note(source.id, "ready", None, ["2024"])
    (photos / "2024").rename(photos.parent / "2024")
    assert go(prune=True).pruned == 0
    (photos.parent / "2024").rename(photos / "2024")
    (photos.parent / "3.jpg").rename(photos / "2024" / "3.jpg")
    assert did(go()) == {"unchanged": 6, "returned": 1}
    assert ids(service) == before


def test_mounts_are_remembered_before_the_first_file_is_stored(
    service: Service, photos: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.ingest.sources import walking

    monkeypatch.setattr(walking, "_mounted_below", lambda root: {"2024"})
    this = passes.SourcePass(
        service.library, service.ingest, service.settings, source, stop=lambda: this.progress.done > 0
    )
    assert this.run().phase == "stopped"
    now = service.library.sources.get(source.id)
    assert (now.mounts, now.state, now.finished_at) == (("2024",), "new", None)


def test_a_real_mount(service: Service, photos: Path, go: Go) -> None:
    disk = photos / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", disk], capture_output=True, check=False)  # noqa: S603, S607
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    try:
        (disk / "7.jpg").write_bytes(picture(7))
        assert did(go()) == {"created": 7}
        before = ids(service)
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: S603, S607
    (disk / "8.jpg").write_bytes(picture(8))  # somebody copied to the empty mount point
    for _ in range(2):
        assert did(go(prune=True)) == {"unchanged": 6}
    assert ids(service) == before
