"""What is said where nothing fits: little, and nothing that is not likely."""

from __future__ import annotations

import pytest

from model.captioner.plain import plain_caption
from model.concepts import Thing

PEOPLE = frozenset(["man", "people"])
TAGS = {"trees": "NNS", "running": "VBG", "red": "JJ"} | dict.fromkeys(
    ["building", "coffee", "dog", "grass", "man"], "NN"
)


def _plain(thing: Thing | None = None, **probabilities: float) -> str:
    return plain_caption(thing, {"man": 0.0, "people": 0.0, **probabilities}, {}, PEOPLE, TAGS)


@pytest.mark.parametrize(
    ("probabilities", "caption"),
    [
        ({}, "a picture of something unfamiliar"),
        ({"man": 0.4, "building": 0.3}, "an outdoor scene"),
        ({"table": 0.4, "building": 0.3}, "an indoor scene"),
        ({"grass": 0.8, "running": 0.7}, "an outdoor scene with grass"),
        ({"trees": 0.8, "building": 0.7}, "an outdoor scene with trees"),
        ({"building": 0.6}, "an outdoor scene with a building"),
        ({"dog": 0.6}, "a picture of a dog"),
        ({"coffee": 0.6}, "a picture of coffee"),
        ({"dog": 0.34}, "a picture of something unfamiliar"),
        ({"man": 0.8, "red": 0.7}, "a person in red"),
        ({"man": 0.8, "snow": 0.7}, "a person outdoors"),
        ({"man": 0.8}, "a person"),
    ],
)
def test_only_what_is_likely_is_said(probabilities: dict[str, float], caption: str) -> None:
    assert _plain(**probabilities) == caption


def test_kinds_that_are_shown_as_concepts_are_named_too() -> None:
    assert (
        plain_caption(None, {"man": 0.2, "grass": 0.4}, {"finch": 0.5}, PEOPLE, TAGS) == "an outdoor scene with a finch"
    )
    assert plain_caption(None, {"man": 0.2}, {"finch": 0.5, "bird": 0.9}, PEOPLE, TAGS) == "a picture of a bird"


def test_a_thing_is_named() -> None:
    assert _plain(Thing("espresso", ("espresso", "coffee")), man=0.3) == "a picture of an espresso"
    assert _plain(Thing("sunglasses", ("sunglasses",))) == "a picture of sunglasses"
    assert _plain(Thing("unicycle", ("unicycle",))) == "a picture of a unicycle"
