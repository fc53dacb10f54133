"""What several tests of app need: image files, uploads, and what a problem looks like."""

from __future__ import annotations

import io
import sqlite3
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from app.ingest.pipeline import IncomingFile
from app.service import Service
from model.bundle import CalibrationConfig, CalibrationCurve
from model.compose.calibration import QueryKind
from model.space import JointSpace

ADDRESS = "http://127.0.0.1:8000"
"""Where test clients find the service: at an address of this machine, so that what guards it is tested, too."""

TRAITS: dict[QueryKind, tuple[float, ...]] = {
    "sentence": (1.0,),
    "image": (),
    "words": (1.0,),
    "attributes": (0.5, 0.1),
    "composed": (0.2, -0.4, 0.7, 0.3),
}
"""Weights of what a chance depends on besides the cosine, by kind of query."""
CALIBRATION = CalibrationConfig(
    curves={
        f"{kind}_to_{target}": CalibrationCurve(
            slope=12, intercept=-4, weights=TRAITS[kind], usual=(0.37,) * len(TRAITS[kind])
        )
        for kind in TRAITS
        for target in ("images", "sentences")
    },
    errors={},
    fitted_on="nothing: made up for tests",
)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed: int = 0, width: int = 64, height: int = 48) -> bytes:
    """A small JPEG, always the same for a seed and another one for each."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return encode(Image.fromarray(coarse).resize((width, height)))


def form(fields: Mapping[str, str], files: Sequence[tuple[str, bytes]]) -> tuple[bytes, str]:
    """A form as bytes, and its content type. `files`: the field and the bytes of each."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'
        parts.append(f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + data + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def post_images(client: TestClient, *files: tuple[str, bytes], **fields: str) -> Response:
    """Upload files and return the response."""
    parts = [("files", (name, data, "application/octet-stream")) for name, data in files]
    return client.post("/v1/images", files=parts, data=fields)


def store(client: TestClient, name: str, data: bytes, **fields: str) -> str:
    """Upload one file which is accepted, and return the id of its image."""
    response = post_images(client, (name, data), **fields)
    assert response.status_code == 200, response.text
    image_id: str = response.json()["results"][0]["image"]["id"]
    return image_id


def add_picture(service: Service, seed: int) -> str:
    """Store the picture of a seed without HTTP, and return the id of its image."""
    (result,) = service.ingest([IncomingFile(f"{seed}.jpg", picture(seed))])
    assert result.record is not None
    return result.record.id


def huge_png(side: int = 30_000) -> bytes:
    """A PNG of side x side black pixels in a few kilobytes: 1 bit a pixel, compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = bytes(1 + (side + 7) // 8)
    compressor = zlib.compressobj(9)
    data = b"".join(compressor.compress(row * 100) for _ in range(side // 100)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def assert_problem(response: Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a complete problem document, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.headers["x-request-id"]
    return problem


def refused_fields(response: Response) -> list[str]:
    """The names of the fields which an invalid_request names."""
    return [error["field"] for error in assert_problem(response, 422, "invalid_request")["errors"]]


def calibrated_space(space: JointSpace) -> JointSpace:
    """A joint space with a made-up calibration."""
    return space.with_config(space.config.model_copy(update={"calibration": CALIBRATION}))


def image_count(client: TestClient) -> int:
    count: int = client.get("/v1/images").json()["total"]
    return count


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something holds; the machine may be busy."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def connect_to_source(connect: Callable[..., TestClient], folder: Path) -> TestClient:
    """A client of a service that has gone over a folder in place."""
    client = connect(sources=(folder,))
    until(lambda: [item["state"] for item in client.get("/v1/sources").json()["items"]] == ["ready"])
    return client


def stored(library: Path) -> int:
    """How many images are in the catalog of a library by now; it may not be there yet."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{library}/catalog.sqlite?mode=ro", uri=True)) as catalog,
    ):
        return int(catalog.execute("select count(*) from images").fetchone()[0])
    return 0
