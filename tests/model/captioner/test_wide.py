"""Captions without photographs: reading them, making captions of kinds, and learning from them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.bundle import MODEL_CARD, Bundle
from model.captioner import Captioner
from model.data.datasets import load_dataset
from model.data.texts import read_texts
from model.errors import DatasetError
from model.evaluation.protocol import embed_photographs
from tests.captioning import CAPTIONS, SMALL
from tests.tiny import write_bundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global ThingCaptions, draw_texts, names_as_words, names_of_kinds, train_captioner
    from model.training.captioner.texts import draw_texts
    from model.training.captioner.thing_captions import ThingCaptions, names_as_words
    from model.training.captioner.train import train_captioner
    from model.training.fitting.kind_names import names_of_kinds


TEXTS = ("a giraffe stands on grass", "a giraffe on the beach", "Two giraffes, and a dog!", "a red car in the snow")


def _write(folder: Path, name: str = "coco", lines: tuple[str, ...] = TEXTS) -> Path:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{number}\t{line}\n" for number, line in enumerate(lines))
    return folder


def test_every_file_of_a_folder_is_read_and_drawn_from(tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, "mine", ("a cat", "", "a bird"))
    read = read_texts(tmp_path)
    assert read == {"coco": list(TEXTS), "mine": ["a cat", "a bird"]}
    drawn = draw_texts(read, 3, seed=1)
    assert len(drawn) == 3
    assert drawn == draw_texts(read, 3, seed=1)
    assert set(drawn) < {*TEXTS, "a cat", "a bird"}
    assert draw_texts(read, 100, seed=1) == [*TEXTS, "a cat", "a bird"]


def test_folders_that_hold_no_captions(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"NAME\.tsv\.gz"):
        read_texts(tmp_path)
    (tmp_path / "a.tsv.gz").write_bytes(b"no gzip")
    with pytest.raises(DatasetError, match=r"a\.tsv\.gz"):
        read_texts(tmp_path)
    _write(tmp_path, "a", ("", "?"))
    with pytest.raises(DatasetError, match="no captions"):
        read_texts(tmp_path)


def test_captions_of_a_kind_name_it_or_have_its_name_put_in() -> None:
    names, broader = names_of_kinds()
    kind = next(number for number, name in enumerate(names) if "bird" in broader[number] and len(name.split()) == 1)
    name = names[kind]
    words = names_as_words(lambda word: True)
    assert words[kind] == (name,)
    tokens = [["a", "bird", "on", "grass"]] * 30
    tags = [["DT", "NN", "IN", "NN"]] * 30
    things = ThingCaptions(tokens, tags, words)
    assert kind in things.drawable
    chance = np.random.default_rng(0)
    drawn = {" ".join(things.draw(kind, chance)[1][0]) for _ in range(50)}
    assert drawn == {"a bird on grass", f"{'an' if name[0] in 'aeio' else 'a'} {name} on grass"}
    own = ThingCaptions([["the", name, "sits"]] * 6, [["DT", "NN", "VBZ"]] * 6, words)
    assert own.draw(kind, chance)[1] == (["the", name, "sits"], ["DT", "NN", "VBZ"])
    assert names_as_words(lambda word: word == "cat").count(()) > 900


def test_a_captioner_learns_words_that_no_photograph_has(tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path / "bundle", (CAPTIONS / "Flickr8k.token.txt").read_text() + " giraffe giraffes stands"
    )
    texts = _write(tmp_path / "texts")
    config = SMALL.model_copy(
        update={"epochs": 2, "reward_steps": 0, "wide_steps": 30, "wide_learning_rate": 0.02, "texts_minimum_count": 2}
    )
    work = tmp_path / "work"
    stages: list[str] = []
    train_captioner(
        CAPTIONS, bundle, config, work=work, texts=texts, report=lambda progress: stages.append(progress.stage)
    )
    captioner = Captioner.load(bundle, device="cpu")
    assert "giraffe" in captioner.structures.words
    assert "giraffes" not in captioner.structures.words, "it was seen once"
    assert captioner.structures.tags_of([captioner.structures.words.index("giraffe")])[0].startswith("NN")
    assert "wider world" in stages
    section = Bundle.load_config(bundle).captioner
    assert section is not None
    assert section.training["sources"] == ["coco"]
    card = (bundle / MODEL_CARD).read_text()
    assert "CC BY 4.0" in card
    assert "--texts DIR" in card
    images = embed_photographs(captioner.space, load_dataset(CAPTIONS, "dev"), lambda done, total: None)
    assert all(captions for captions in captioner.caption(images, 2))

    # What is done is not done again, and without the texts it is another run.
    again = bundle.with_name("again")
    shutil.copytree(bundle, again)
    before = stages.count("wider world")
    train_captioner(
        CAPTIONS, again, config, work=work, texts=texts, report=lambda progress: stages.append(progress.stage)
    )
    assert stages.count("wider world") == before
    assert Bundle.load_config(again).files == Bundle.load_config(bundle).files
