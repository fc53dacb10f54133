"""Operands as chips: what each says, and the searches it leads to."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from app.search.expression import parse
from app.service import Service
from app.web import chips
from app.web.view import View
from tests.app.helpers import picture, store


def query(url: str | None) -> str:
    assert url is not None
    return parse_qs(urlsplit(url).query).get("q", [""])[0]


def test_each_operand_can_be_removed_reversed_and_reweighed(service: Service) -> None:
    expression = parse('2 * "black - white photo" - dog + image:abc')
    view = View(q=str(expression), target="sentences", filters={"album": "x"})
    phrase, dog, image = chips.chips(view, expression, ["dog"], service)
    assert (phrase.label, phrase.negative, phrase.unknown) == ("black - white photo", False, False)
    assert (dog.negative, dog.unknown) == (True, True)
    assert (image.kind, image.label, image.thumbnail) == ("image", "deleted photograph", None)
    assert query(dog.remove) == '2 * "black - white photo" + image:abc'
    assert query(dog.flip) == '2 * "black - white photo" + dog + image:abc'
    assert query(phrase.remove) == "- dog + image:abc"
    weights = {choice.label: choice for choice in phrase.weights}
    assert weights["2×"].chosen
    assert query(weights["1×"].url) == '"black - white photo" - dog + image:abc'
    assert query(dog.weights[-1].url).endswith("- 5 * dog + image:abc")
    assert "target=sentences" in dog.remove
    assert "metadata.album=x" in dog.remove


def test_the_last_operand_leaves_an_empty_search(service: Service) -> None:
    (only,) = chips.chips(View(q="dog"), parse("dog"), [], service)
    assert only.remove == "/"


@pytest.mark.parametrize(
    ("source", "references", "text"),
    [
        ("a dog", "", "a dog"),
        ("image:a - blue + red", "image:a", "- blue + red"),
        ("dog + image:a - 2 * sentence:b", "image:a - 2 * sentence:b", "dog"),
        ("image:a", "image:a", ""),
    ],
)
def test_an_expression_is_split_into_what_is_stored_and_what_is_written(
    source: str, references: str, text: str
) -> None:
    assert chips.references(parse(source)) == references
    assert chips.text(parse(source)) == text


def test_unusual_weights_are_on_offer(service: Service) -> None:
    (chip,) = chips.chips(View(q="0.7 * dog"), parse("0.7 * dog"), [], service)
    assert [choice.label for choice in chip.weights if choice.chosen] == ["0.7×"]


def test_a_photograph_is_called_by_its_name(client: TestClient) -> None:
    image_id = store(client, "beach.jpg", picture(3))
    assert "beach.jpg" in client.get(f"/?q=image:{image_id}").text
