"""`visem import`."""

from __future__ import annotations

from pathlib import Path

from model.bundle import Bundle
from tests.app.cli.conftest import KeptRun, Run
from tests.clip import write_model

PHOTOS = Path(__file__).parents[2] / "fixtures" / "photos"


def test_a_model_of_open_clip_is_imported_and_searched(run: Run, kept_run: KeptRun, tmp_path: Path) -> None:
    def arguments(folder: Path) -> tuple[str | Path, ...]:
        config, weights = write_model(folder / "model")
        out, words = folder / "bundle", folder / "words.txt"
        words.write_text("cat\ndog\n\nrocket ship\n")
        what = ("--config", config, "--weights", weights, "--words", words, "--prompt", "a photo of a {}")
        return ("import", "open-clip", *what, "--out", out, "--precision", "int8", "--json")

    folder, outcome = kept_run("import-open-clip", arguments)
    out = folder / "bundle"
    assert outcome.document["cosines"]["image"]["fp32"] > 0.9999
    made = Bundle.load(out).config
    assert made.space_id == outcome.document["space_id"]
    assert made.is_int8("image_encoder")
    assert made.is_int8("text_encoder")
    assert "int8" in (out / "MODEL_CARD.md").read_text()

    model = ("--config", folder / "model" / "tiny.json", "--weights", folder / "model" / "weights.safetensors")
    repeated = run("import", "open-clip", *model, "--out", out)
    assert repeated.status == 2
    assert "--overwrite" in repeated.stderr
    place = ("--library", tmp_path / "library", "--bundle", out)
    assert run("add", PHOTOS / "cat.jpg", PHOTOS / "coffee.jpg", *place).status == 0
    found = run("search", "a cat - dog + xyzzyva", *place, "--json")
    assert found.status == 0, found.stderr
    assert len(found.document["hits"]) == 2
    assert found.document["unknown_words"] == []


def test_what_cannot_be_imported(run: Run, tmp_path: Path) -> None:
    config, weights = write_model(tmp_path / "model")
    given = ("import", "open-clip", "--config", config, "--out", tmp_path / "bundle")
    outcome = run(*given, "--weights", tmp_path / "none.safetensors", "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "import_failed"
    outcome = run(*given, "--weights", weights, "--prompt", "a photo", "--json")
    assert outcome.status == 2
    assert "{}" in outcome.document["error"]["message"]
    outcome = run("import", "open-clip", "--config", "ViT-B-32", "--weights", weights, "--out", tmp_path / "bundle")
    assert outcome.status == 1
    assert "does not hold the weights of ViT-B-32" in outcome.stderr
    assert outcome.stderr.strip().count("\n") <= 1
    assert not (tmp_path / "bundle").exists()
