"""`visem captions`."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.service import Service
from app.settings import Settings
from index import NewCaption
from model.captioner import Captioner
from tests.app.cli.conftest import Run, write_pictures


@pytest.fixture
def image(run: Run, tmp_path: Path) -> str:
    """The id of a stored image."""
    added = run("add", write_pictures(tmp_path / "pictures", 1), "--json").document
    image_id: str = added["results"][0]["image"]["id"]
    return image_id


def test_your_own_are_added_set_and_removed(run: Run, image: str) -> None:
    assert run("captions", "list", image).stdout == ""
    assert run("captions", "add", f"image:{image}", "a  dog runs", "a cat").stdout == "user\ta dog runs\nuser\ta cat\n"
    document = run("captions", "add", image, "a black dog", "a cat", "--json").document
    assert [one["text"] for one in document["captions"]] == ["a dog runs", "a cat", "a black dog"]
    assert {one["origin"] for one in document["captions"]} == {"user"}
    assert run("captions", "list", image, "--json").document == document
    assert run("captions", "set", image, "a cat", "a dog runs").stdout == "user\ta cat\nuser\ta dog runs\n"
    assert run("captions", "set", image).stdout == ""
    assert run("sentences", "list", "--json").document["total"] == 3


def test_those_of_the_captioner_are_told_apart(run: Run, image: str) -> None:
    with Service.open(Settings()) as service:
        [vector] = service.space.embed_texts(["a white dog"])
        service.library.captions.add(image, [NewCaption("a white dog", vector, 0.5)])
    run("captions", "add", image, "a cat")
    assert run("captions", "list", image).stdout == "user\ta cat\ncaptioner\ta white dog\n"
    assert run("captions", "remove", image, "--origin", "captioner").stdout == "user\ta cat\n"
    assert run("captions", "remove", image).stdout == ""
    assert [one["text"] for one in run("sentences", "list", "--json").document["items"]] == ["a cat"]


def test_captions_that_were_given_up_are_told_of_and_retried(
    run: Run, tmp_path: Path, captioner_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEM_BUNDLE", str(captioner_bundle))

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "caption", fail)
        patch.setattr("app.captions.background.BACK_OFF", 0.0)
        assert run("add", write_pictures(tmp_path / "pictures", 1), "--captions", "2").status == 0
        library = run("info", "--json").document["library"]
        assert (library["captions_owed"], library["captions_given_up"]) == (0, 1)
        assert "captions of 1 image failed too often: `visem captions retry`" in run("info").stdout
        outcome = run("captions", "retry", "--json")
        assert (outcome.status, outcome.document) == (1, {"written": 0, "left": 1})
    assert run("captions", "retry").stdout == "Captions of 1 image written, 0 left.\n"
    assert run("captions", "retry", "--json").document == {"written": 0, "left": 0}
    library = run("info", "--json").document["library"]
    assert (library["captions_owed"], library["captions_given_up"]) == (0, 0)
    assert library["sentences"] == 2


def test_what_cannot_be_a_caption_changes_nothing(run: Run, image: str) -> None:
    run("captions", "add", image, "a cat")
    outcome = run("captions", "set", image, "a dog", "zyzzyva", "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "sentences_rejected")
    outcome = run("captions", "add", image, "a" * 2000)
    assert outcome.status == 2
    assert "The caption is not accepted" in outcome.stderr
    assert run("captions", "list", image).stdout == "user\ta cat\n"


@pytest.mark.parametrize("command", [["list"], ["add", "a dog"], ["set"], ["remove"]])
def test_an_image_that_is_not_there(run: Run, image: str, command: list[str]) -> None:
    name, *texts = command
    outcome = run("captions", name, "nowhere", *texts, "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "record_not_found")
