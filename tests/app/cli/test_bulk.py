"""`visem add --ray` on a real cluster of two nodes, and what is refused without one."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from index import LibraryConfig, open_library
from tests.app.cli.conftest import Run, finish, start, write_pictures
from tests.app.helpers import picture
from tests.servers.ray_nodes import RayCluster
from tests.servers.s3 import CREDENTIALS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def nodes(ray_nodes: RayCluster, s3_address: str, environment: dict[str, str]) -> RayCluster:
    """The cluster; commands of `environment` can read from S3, too."""
    environment |= {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3_address}
    return ray_nodes


def images(library: Path) -> list[Any]:
    with open_library(LibraryConfig(library)) as opened:
        assert opened.check(deep=True) == []
        return opened.list_images(limit=10_000).items


def write_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_every_kind_of_source(
    nodes: RayCluster, environment: dict[str, str], run: Run, tmp_path: Path, library: Path, s3_address: str
) -> None:
    import boto3
    import pyarrow as pa
    import pyarrow.parquet as pq

    photos = write_pictures(tmp_path / "photos", 6)
    (photos / "copy.jpg").write_bytes(picture(0))
    (photos / "junk.jpg").write_bytes(b"junk")
    (photos / "notes.txt").touch()
    write_tar(photos / "shard.tar", ("a.jpg", picture(1)), ("b.jpg", picture(10)), ("b.json", b"{}"))
    (photos / "bad.tar").write_bytes(b"junk" * 500)
    pq.write_table(pa.table({"image": [picture(2), picture(11), b"junk"]}), photos / "rows.parquet")
    client = boto3.client("s3", endpoint_url=s3_address, aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    url = f"s3://test-{uuid.uuid4()}/deep"
    client.create_bucket(Bucket=url.split("/")[2])
    for seed in (3, 12):
        client.put_object(Bucket=url.split("/")[2], Key=f"deep/{seed}.jpg", Body=picture(seed))
    command = ("add", "--ray", nodes.address, photos, url, "--json", "--metadata", "album=all")

    outcome = finish(start(environment, *command))
    assert (outcome.status, outcome.stderr.count("Rejected")) == (1, 3), outcome.stderr
    document = outcome.document
    assert {key: document[key] for key in ("created", "duplicates", "rejected", "interrupted", "skipped")} == {
        **{"created": 9, "duplicates": 4, "rejected": 3, "interrupted": False},
        "skipped": {".txt": 1, ".json": 1},
    }
    by_path = {result["path"]: result for result in document["results"]}
    assert len(by_path) == len(document["results"]) == 16
    rejected = {path: result["code"] for path, result in by_path.items() if result["status"] == "rejected"}
    assert rejected == {
        f"{photos}/junk.jpg": "image_unreadable",
        f"{photos}/bad.tar": "archive_unreadable",
        f"{photos}/rows.parquet#2": "image_unreadable",
    }
    assert by_path[f"{photos}/shard.tar#b.jpg"]["image"]["filename"] == "b.jpg"
    assert by_path[f"{url}/12.jpg"]["status"] == "created"

    # The same images as the ordinary command makes of them.
    stored = {image.sha256: image for image in images(library)}
    assert len(stored) == 9
    assert {image.metadata["album"] for image in stored.values()} == {"all"}
    other = tmp_path / "other"
    document = run("add", photos, "--library", other, "--json").document
    assert document["created"] == 6
    with open_library(LibraryConfig(library)) as ours, open_library(LibraryConfig(other)) as theirs:
        for image in theirs.list_images().items:
            same = stored[image.sha256]
            assert (same.width, same.height, same.media_type) == (image.width, image.height, image.media_type)
            assert ours.image_vectors([same.id]).tolist() == theirs.image_vectors([image.id]).tolist()
            assert ours.thumbnail(same.sha256) == theirs.thumbnail(image.sha256)


def test_a_worker_dies_and_then_the_command_is_interrupted_and_repeated(
    nodes: RayCluster, environment: dict[str, str], tmp_path: Path, library: Path
) -> None:
    pictures = 900
    photos = write_pictures(tmp_path / "photos", pictures)
    command = ("add", "--ray", nodes.address, photos, "--json")
    process = start(environment, *command)
    wait_for_images(library, process, 30)
    os.kill(nodes.workers()[0], signal.SIGKILL)
    wait_for_images(library, process, 200)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 130, outcome.stderr
    assert "Traceback" not in outcome.stderr
    document = outcome.document
    assert document["interrupted"] is True
    before = images(library)
    # Content is stored before its record, and what the killed worker stored has no report.
    assert 0 < document["created"] <= len(before) < pictures
    assert len({result["path"] for result in document["results"]}) == len(document["results"])

    outcome = finish(start(environment, *command))
    assert outcome.status == 0, outcome.stderr
    document = outcome.document
    assert (document["created"], document["duplicates"]) == (pictures - len(before), len(before))
    assert len({result["path"] for result in document["results"]}) == pictures
    assert len(images(library)) == pictures


LOSING = """
import os, signal, sys, time
from app.ingest.bulk.cluster import Cluster
from tests.servers.ray_nodes import RayCluster

fetch = Cluster.fetch

def lose(cluster, reference):
    Cluster.fetch = fetch
    for pid in RayCluster("", int(os.environ["NODES"])).workers():
        os.kill(pid, signal.SIGKILL)
    time.sleep(3)
    try:
        return fetch(cluster, reference)
    except Exception as error:
        print(type(error).__name__, file=sys.stderr)
        raise

Cluster.fetch = lose
"""
"""Has workers die while the driver fetches the first images."""


def test_workers_die_while_the_driver_fetches_their_images(
    nodes: RayCluster, environment: dict[str, str], tmp_path: Path, library: Path
) -> None:
    photos = write_pictures(tmp_path / "photos", 40)
    environment |= {"NODES": str(nodes.pid)}
    outcome = finish(
        start(environment, "add", "--ray", nodes.address, photos, "--json", first=LOSING, cwd=ROOT),
    )
    assert "ImagesLostError" in outcome.stderr
    assert outcome.status == 0, outcome.stderr
    assert len({result["path"] for result in outcome.document["results"]}) == len(images(library)) == 40


def wait_for_images(library: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until so many files are stored."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, finish(process)
        if sum(1 for _ in library.glob("content/*/*")) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("nothing was stored")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--ray", "127.0.0.1:1", "s3://b/p", "--in-place"], "--in-place"),
        (["--workers", "2", "."], "--workers is for --ray"),
        (["--column", "x", "."], "--column is for --ray"),
        (["s3://b/p"], "s3:// is for --ray"),
    ],
)
def test_options_that_do_not_go_together(run: Run, arguments: list[str], reason: str, library: Path) -> None:
    outcome = run("add", *arguments, "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (2, "invalid_request")
    assert reason in outcome.stderr
    assert not library.exists()


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("127.0.0.1:1", 1, "No Ray cluster at 127.0.0.1:1"),
        ("ray://127.0.0.1:10001", 2, "on one of its nodes"),
        ("somewhere", 2, "HOST:PORT"),
        ("auto", 2, "HOST:PORT"),
        ("host:99999", 2, "HOST:PORT"),
    ],
)
def test_a_wrong_address(run: Run, tmp_path: Path, address: str, status: int, reason: str) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: it comes with the extra ray")
    outcome = run("add", "--ray", address, write_pictures(tmp_path / "photos", 1), "--json")
    assert outcome.status == status
    assert reason in outcome.document["error"]["message"]


def test_an_address_where_something_else_answers(run: Run, tmp_path: Path, s3_address: str) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: it comes with the extra ray")
    address = s3_address.removeprefix("http://")
    outcome = run("add", "--ray", address, write_pictures(tmp_path / "photos", 1), "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["message"] == f"What answers at {address} is no Ray cluster."


def test_without_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    outcome = run("add", "--ray", "host:6379", write_pictures(tmp_path / "photos", 1), "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (2, "extra_missing")
    assert outcome.stderr.startswith("visem: --ray needs what is not installed: ray. Install the extra `ray`")
    assert not library.exists()
