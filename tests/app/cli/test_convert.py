"""`visem train convert`: a bundle of an earlier format becomes one of today's."""

from __future__ import annotations

from pathlib import Path

from model.bundle import FORMAT_VERSION, Bundle, write_config
from tests.app.cli.conftest import Run
from tests.tiny import write_bundle


def test_a_bundle_is_converted_in_place_and_serves_again(run: Run, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    before = Bundle.load(bundle).config
    for graph in ("projection.onnx", "lstm.onnx"):
        (bundle / graph).unlink()
    write_config(bundle, before)

    refused = run("sentences", "add", "a dog", "--bundle", bundle)
    assert refused.status == 1
    assert f"visem train convert {bundle}" in refused.stderr.replace("\n", "")

    told = run("info", "--bundle", bundle).stdout.replace("\n", "")
    assert f"visem train convert {bundle}" in told

    converted = run("train", "convert", bundle, "--json")
    assert converted.status == 0, converted.stderr
    assert converted.document["format_version"] == before.format_version
    assert converted.document["space_id"] == before.space_id
    assert "train convert" not in run("info", "--bundle", bundle).stdout
    assert run("sentences", "add", "a dog", "--bundle", bundle).status == 0
    assert f"format version {FORMAT_VERSION} now ({FORMAT_VERSION} before)" in run("train", "convert", bundle).stderr
