"""A service on a CPU adds, searches, composes and captions without ever importing torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PHOTOS = Path(__file__).parents[1] / "fixtures" / "photos"
CODE = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from app.main import create_app
from app.settings import Settings

with TestClient(create_app(Settings(device="cpu"))) as client:
    photos = [("files", (name, (Path(sys.argv[1]) / name).read_bytes())) for name in ("cat.jpg", "coffee.jpg")]
    added = client.post("/v1/images", files=photos)
    assert added.status_code in (200, 201), added.text
    image, _ = [one["image"]["id"] for one in added.json()["results"]]
    for query in ("a cat", f"image:{image} - black + white"):
        found = client.get("/v1/search", params={"q": query})
        assert found.status_code == 200, found.text
        assert found.json()["hits"], found.text
    written = client.post("/v1/captions", json={"image_id": image, "n": 3})
    assert written.status_code == 200, written.text
    assert written.json()["captions"], written.text
print(sorted({"torch", "torchvision", "timm"} & sys.modules.keys()))
"""


def test_torch_is_not_imported(captioner_bundle: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "VISEM_LIBRARY": str(tmp_path / "library"), "VISEM_BUNDLE": str(captioner_bundle)}
    command = [sys.executable, "-c", CODE, str(PHOTOS)]
    result = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
