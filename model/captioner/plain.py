"""What is said of an image that the captioner has no fitting sentence for: little, and nothing that is not likely.

    a picture of a strawberry           a thing that it shows by itself
    a person in red                     somebody, where people are likelier than not
    an outdoor scene with grass         where it is, and what is surely there
    a picture of something unfamiliar   nothing is sure

It reads the detector of concepts alone (`model.concepts`), and needs no word of the language model's.
"""

from __future__ import annotations

from collections.abc import Mapping

from model.concepts import Thing

SURE, LIKELY_PLACE = 0.5, 0.25
"""Chance from which on somebody is mentioned, and from which on the likelier of the two kinds of places is."""
LIKELY = 0.35
"""The same for what else is there."""
_INDOORS_WORDS = """
bar bathroom bed bedroom carpet chair classroom couch desk floor gym indoors inside kitchen restaurant room rug
stage store table
"""
INDOORS = frozenset(_INDOORS_WORDS.split())
_OUTDOORS_WORDS = """
beach building city dirt field forest grass hill hills lake mountain mountains ocean outdoors outside park pool
river road rock rocks sand sidewalk sky snow street sunset tree trees water woods yard
"""
OUTDOORS = frozenset(_OUTDOORS_WORDS.split())
_COLOURS = ("black", "blue", "green", "orange", "pink", "purple", "red", "white", "yellow")
_UNCOUNTED_WORDS = """
agility art attire baseball basketball broccoli cement cloth clothing coffee concrete corn denim dirt dough equipment
fire fishing food football fur gear graffiti grass gravel guacamole hair hay hockey ice leather metal midair motion mud
music paint paper pavement plastic rain rugby sand smoke snow speed splashing spray tennis terrain traffic velvet
volleyball water wood wool
"""
_UNCOUNTED = frozenset([*_UNCOUNTED_WORDS.split(), "chain mail", "ice cream", "toilet paper"])
_NOT_NAMED_WORDS = """
air city day field indoors inside mouth night outdoors outside
"""
_NOT_NAMED = frozenset(_NOT_NAMED_WORDS.split())
"""Nouns that do not go with *a scene with*."""


def plain_caption(
    thing: Thing | None,
    probabilities: Mapping[str, float],
    kinds: Mapping[str, float],
    people: frozenset[str],
    tags: Mapping[str, str],
) -> str:
    """A caption of what is likely.

    `thing`: one that is likely enough to be named. `probabilities` of the detector's words, and of the names of
    `kinds` that are shown as concepts; `people`: those of the words that mean somebody; `tags`: the part of speech of
    each word.
    """
    if thing is not None:
        return f"a picture of {_with_article(thing.name)}"
    likely = {
        word: probability
        for word, probability in probabilities.items()
        if probability >= LIKELY and _is_thing(word, people, tags)
    }
    likely = {**likely, **kinds}
    nouns = sorted(likely, key=lambda word: (-likely[word], word))
    indoors, outdoors = (
        max((probabilities.get(word, 0.0) for word in place), default=0.0) for place in (INDOORS, OUTDOORS)
    )
    place = ""
    if max(indoors, outdoors) >= LIKELY_PLACE:
        place = "indoor" if indoors > outdoors else "outdoor"
    if any(probabilities.get(word, 0.0) >= SURE for word in people):
        colour = max(_COLOURS, key=lambda word: probabilities.get(word, 0.0))
        if probabilities.get(colour, 0.0) >= SURE:
            return f"a person in {colour}"
        return f"a person {place}s" if place else "a person"
    if place:
        return f"an {place} scene with {_named(nouns[0], tags)}" if nouns else f"an {place} scene"
    return f"a picture of {_named(nouns[0], tags)}" if nouns else "a picture of something unfamiliar"


def _is_thing(word: str, people: frozenset[str], tags: Mapping[str, str]) -> bool:
    return tags.get(word, "").startswith("NN") and word not in people and word not in _NOT_NAMED | set(_COLOURS)


def _named(noun: str, tags: Mapping[str, str]) -> str:
    return noun if tags.get(noun) == "NNS" else _with_article(noun)


def _with_article(noun: str) -> str:
    if noun in _UNCOUNTED:
        return noun
    if noun.endswith("s") and not noun.endswith(("ss", "us", "is")):
        return noun  # *sunglasses*
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "eu", "one-"))
    return f"{'an' if vowel else 'a'} {noun}"
