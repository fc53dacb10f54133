"""From folders, S3, tar and Parquet files to the files in them, without Ray."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.ingest.bulk.errors import BulkError
from app.ingest.bulk.work_units import FILES_A_PIECE, Files, Parquet, Piece, Tar
from model.errors import ImageError
from tests.app.helpers import picture


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and pyarrow and boto3 take a second."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: it comes with the extra ray")
    global Listing, PieceReader, boto3, pa, pq, s3
    import boto3
    import pyarrow as pa
    import pyarrow.parquet as pq

    from app.ingest.bulk import s3
    from app.ingest.bulk.listing import Listing
    from app.ingest.bulk.reading import PieceReader


MAX_BYTES = 50_000


def read(piece: Piece, max_bytes: int = MAX_BYTES) -> list[tuple[str, bytes | str]]:
    """The files of a piece: the end of the path, and the bytes or the code of the reason why there are none."""
    return [
        (path.rpartition("/")[2], file.data.code if isinstance(file.data, ImageError) else file.data)
        for path, file in PieceReader(piece, max_bytes)
    ]


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def listing(
    *sources: Path | str, library: Path = Path("/nowhere"), url: str | None = None
) -> tuple[Listing, list[Any]]:
    told: list[Any] = []
    found = Listing(
        [str(source) for source in sources],
        None,
        without=library,
        without_url=url,
        on_error=lambda *what: told.append(what),
        on_left_out=lambda *what: told.append(what),
    )
    return found, told


def test_files_come_in_order_and_bad_ones_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "large.jpg").write_bytes(b"x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "pipe.jpg")
    names = ["a.jpg", "gone.jpg", "large.jpg", "pipe.jpg", *["a.jpg"] * 20]
    found = read(Files(tuple(str(tmp_path / name) for name in names)))
    assert [name for name, _ in found] == names
    assert [data for _, data in found[:5]] == [b"a", "file_unreadable", "image_too_large", "file_unreadable", b"a"]


def test_a_tar_file_gives_its_images(tmp_path: Path) -> None:
    members = [("1.jpg", b"one"), ("1.json", b"{}"), ("../../etc/2.PNG", b"two"), ("3", picture(3)), ("4", b"text")]
    reader = PieceReader(Tar(str(write_tar(tmp_path / "shard.tar", members))), MAX_BYTES)
    assert [(file.name, file.data) for _, file in reader] == [("1.jpg", b"one"), ("2.PNG", b"two"), ("3", picture(3))]
    assert reader.skipped == {".json": 1, "": 1}


def test_a_large_member_is_refused_and_the_next_ones_are_read(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "shard.tar", [("1.jpg", b"x" * (MAX_BYTES + 1)), ("2.jpg", b"two")])
    assert read(Tar(str(tar))) == [("shard.tar#1.jpg", "image_too_large"), ("shard.tar#2.jpg", b"two")]


@pytest.mark.parametrize("junk", [b"", b"junk" * 1000, picture(1)])
def test_junk_is_no_tar_file(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(junk)
    assert read(Tar(str(path))) == [("shard.tar", "archive_unreadable")]


def test_a_tar_file_that_is_cut_off_or_damaged_gives_what_came_before(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "shard.tar", [(f"{number}.jpg", bytes([number]) * 3000) for number in range(4)])
    whole = tar.read_bytes()
    for damaged in (whole[:6000], whole[: 2 * 3584] + b"junk" * 128 + whole[2 * 3584 + 512 :]):
        tar.write_bytes(damaged)
        *good, bad = read(Tar(str(tar)))
        assert good == [(f"shard.tar#{number}.jpg", bytes([number]) * 3000) for number in range(len(good))]
        assert len(good) >= 1
        assert bad == ("shard.tar", "archive_unreadable")


def test_a_header_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 33
    path = tmp_path / "bomb.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(1 << 33)  # a file with holes
    assert read(Tar(str(path))) == [("bomb.tar", "archive_unreadable")]


def test_parquet_with_bytes(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    values = [b"one", None, b"x" * (MAX_BYTES + 1), b"four", b"five"]
    pq.write_table(pa.table({"label": list("abcde"), "jpeg": values}), path, row_group_size=2)
    expected = [b"one", "image_empty", "image_too_large", b"four", b"five"]
    assert read(Parquet(str(path), None, 0, 1)) == [
        (f"photos.parquet#{number}", value) for number, value in enumerate(expected)
    ]
    parts = [read(Parquet(str(path), "jpeg", part, 2)) for part in range(2)]
    assert [[name for name, _ in part] for part in parts] == [
        [f"photos.parquet#{number}" for number in numbers] for numbers in ([0, 1, 4], [2, 3])
    ]


def test_parquet_of_hugging_face(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    image = pa.array([{"bytes": b"one", "path": "x/1.jpg"}, None, {"bytes": None, "path": "/etc/passwd"}])
    pq.write_table(pa.table({"image": image, "other": [b"a", b"b", b"c"]}), path)
    found = [(file.name, file.data) for _, file in PieceReader(Parquet(str(path), None, 0, 1), MAX_BYTES)]
    assert found[0] == ("1.jpg", b"one")
    assert [data.code for _, data in found[1:] if isinstance(data, ImageError)] == ["image_empty", "image_empty"]


def test_paths_in_parquet_stay_below_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["sub/1.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "s3://b/x", "\0", "gone.jpg"]
    pq.write_table(pa.table({"file": names}), folder / "list.parquet")
    found = read(Parquet(str(folder / "list.parquet"), "file", 0, 1))
    assert [data for _, data in found] == [b"one", *["file_unreadable"] * 6]


@pytest.mark.parametrize(
    ("table", "column", "reason"),
    [
        ({"a": [b"1"], "b": [b"2"]}, None, "several columns of bytes.*--column"),
        ({"a": ["x"]}, None, "no column of bytes.*--column"),
        ({"a": [b"1"]}, "b", "no column b; the columns are a"),
        ({"a": [1]}, "a", "neither bytes nor paths"),
    ],
)
def test_parquet_without_a_column_to_read(tmp_path: Path, table: Any, column: str | None, reason: str) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table(table), path)
    ((_, file),) = PieceReader(Parquet(str(path), column, 0, 1), MAX_BYTES)
    with pytest.raises(ImageError, match=reason):
        file.read()


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": [os.urandom(3000) for _ in range(64)]}), path, row_group_size=32)
    whole = path.read_bytes()
    for damaged in (b"", b"PAR1 junk PAR1", whole[:-500], whole[:100] + b"\xff" * 60_000 + whole[60_100:]):
        path.write_bytes(damaged)
        assert read(Parquet(str(path), None, 0, 1))[-1] == ("photos.parquet", "archive_unreadable")


def test_pickled_columns_are_not_read(tmp_path: Path) -> None:
    import ray.data  # registers the type of pickled objects, as it does in a worker

    assert ray.data
    storage = pa.array([b"cos\nsystem\n(S'touch pickled'\ntR."], pa.large_binary())
    kind = pa.ExtensionType.__subclasses__()
    (pickled,) = (one for one in kind if one.__name__ == "ArrowPythonObjectType")
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": pa.ExtensionArray.from_storage(pickled(), storage)}), path)
    for column in (None, "image"):
        assert read(Parquet(str(path), column, 0, 1)) == [("photos.parquet", "archive_unreadable")]


def test_pieces_of_a_folder(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.jpg", ".hidden.jpg", "b.txt", "@eaDir/thumb.jpg", "x/shard.tar", "x/rows.parquet", "lib/c.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"x")
    found, told = listing(photos, photos / "b.txt", library=photos / "lib")
    pieces = list(found)
    assert [piece for piece in pieces if not isinstance(piece, Files)] == [
        Parquet(str(photos / "x/rows.parquet"), None, 0, 1),
        Tar(str(photos / "x/shard.tar")),
    ]
    assert [piece.paths for piece in pieces if isinstance(piece, Files)] == [
        (str(photos / "a.jpg"), str(photos / "b.txt"))
    ]
    assert found.skipped == {".txt": 1}
    assert told == [(str(photos / "@eaDir"), "thumbnails of a NAS")]
    assert found.images is None


def test_many_files_are_several_pieces(tmp_path: Path) -> None:
    for number in range(FILES_A_PIECE + 1):
        (tmp_path / f"{number:03}.jpg").touch()
    found, _ = listing(tmp_path)
    assert [len(piece.paths) for piece in found if isinstance(piece, Files)] == [FILES_A_PIECE, 1]
    assert found.images == FILES_A_PIECE + 1


def test_a_compressed_tar_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="Decompress it"):
        listing(tmp_path / "shard.tar.gz")


@pytest.fixture
def bucket(s3_content: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of an empty bucket, and a client."""
    s3._client.cache_clear()
    name = s3_content.split("/")[2]
    yield name, boto3.session.Session().client("s3")
    s3._client.cache_clear()


def test_pieces_and_files_of_a_bucket(bucket: Any, tmp_path: Path) -> None:
    name, client = bucket
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": [b"one", b"x" * (MAX_BYTES + 1)]}), rows)
    tar = write_tar(tmp_path / "shard.tar", [("1.jpg", b"x" * 3_000_000), ("2.jpg", b"two")])
    contents = {
        "p/a.jpg": b"a",
        "p/large.jpg": b"x" * (MAX_BYTES + 1),
        "p/noending": picture(1),
        "p/text": b"text",
        "p/b.txt": b"",
        "p/.hidden/c.jpg": b"c",
        "p/@eaDir/d.jpg": b"d",
        "p/own/content/ab/abc": b"e",
        "p/rows.parquet": rows.read_bytes(),
        "p/shard.tar": tar.read_bytes(),
        "p2/f.jpg": b"f",
    }
    for key, data in contents.items():
        client.put_object(Bucket=name, Key=key, Body=data)
    found, told = listing(f"s3://{name}/p", url=f"s3://{name}/p/own")
    files, parquet, archive = sorted(found, key=lambda piece: type(piece).__name__)
    assert told == [(f"s3://{name}/p/@eaDir", "thumbnails of a NAS")]
    assert found.skipped == {".txt": 1}
    assert read(files) == [("a.jpg", b"a"), ("large.jpg", "image_too_large"), ("noending", picture(1))]
    assert read(parquet) == [("rows.parquet#0", b"one"), ("rows.parquet#1", "image_too_large")]
    assert read(archive) == [("shard.tar#1.jpg", "image_too_large"), ("shard.tar#2.jpg", b"two")]
    assert read(Files((f"s3://{name}/gone.jpg",))) == [("gone.jpg", "file_unreadable")]


def test_a_prefix_with_nothing_below_it(bucket: Any) -> None:
    name, _ = bucket
    with pytest.raises(BulkError, match="nothing at"):
        listing(f"s3://{name}/nothing")
    with pytest.raises(BulkError, match="NoSuchBucket"):
        listing("s3://there-is-no-such-bucket/x")
    for url in ("s3://", "s3:///x", "s3://user@bucket/x"):
        with pytest.raises(BulkError, match="not s3://bucket/prefix"):
            listing(url)
