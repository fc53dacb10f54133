"""Whether the words of a caption agree: numbers with nouns, subjects with verbs, pronouns with who is meant.

A small grammar for the short sentences that captions are, over the tags of `TagLexicon`. It is used twice: ranking puts
captions that disagree last, and `visem evaluate captions` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_MALE_WORDS = """
boy boyfriend boys brother father gentleman gentlemen groom guy guys husband man men son
"""
MALE = frozenset(_MALE_WORDS.split())
_FEMALE_WORDS = """
bride daughter female girl girlfriend girls grandmother ladies lady mother sister wife woman women
"""
FEMALE = frozenset(_FEMALE_WORDS.split())
_SOMEBODY_WORDS = """
adult adults babies baby biker boarder child children climber couple crowd cyclist family friends group guitarist
hiker infant kid kids musician people performer person persons player players rider runner skateboarder skater skier
snowboarder somebody surfer swimmer team teen teenager teens toddler toddlers
"""
SOMEBODY = frozenset(_SOMEBODY_WORDS.split())
_PETS_WORDS = """
animal bird bull cat cow dog dogs elephant horse puppy
"""
_PETS = frozenset(_PETS_WORDS.split())
PEOPLE = MALE | FEMALE | SOMEBODY
_MANY_WORDS = """
eight few five four many nine seven several six ten these those three two
"""
_MANY = frozenset(_MANY_WORDS.split())
_ONE = frozenset(["a", "an", "one", "this", "that", "each", "every"])
_SEVERAL_WORDS = """
boys children family girls guys kids ladies men people women
"""
_SEVERAL = frozenset(_SEVERAL_WORDS.split())
_COLLECTIVE_WORDS = """
bunch couple crowd family flock group herd lot number pair row set team variety
"""
_COLLECTIVE = frozenset(_COLLECTIVE_WORDS.split())
_PLURAL_WORDS = """
bars glasses headphones jeans pajamas pants scissors shorts skis stairs sunglasses trunks
"""
_PLURAL = frozenset(_PLURAL_WORDS.split())
"""Nouns that *a* is never said of; others that end like a plural may be verbs."""
_NEITHER_WORDS = """
deer fish gymnastics series sheep ski species sports swim
"""
_NEITHER = _PLURAL - {"bars"} | frozenset(_NEITHER_WORDS.split())
"""Nouns whose form does not tell their number, or that stand behind both articles in good English."""
_MOUTH = frozenset(["mouth", "mouths"])
_OWNERS = frozenset(["a", "her", "his", "its", "the", "their"])
_DETERMINERS = _MANY | _OWNERS | {"an", "another", "its", "some"}
_PLACES_WORDS = """
across against along around at behind by down in inside into near of off on over through to
"""
_PLACES = frozenset(_PLACES_WORDS.split())


def disagrees(words: Sequence[str], tags: Sequence[str]) -> bool:
    """Whether a sentence says *a dogs*, *two dog*, *a man are*, *a man ... her own*, *a man sits on its mouth*."""
    return _wrong_number(words, tags) or _wrong_verb(words, tags) or _wrong_pronoun(words, tags) or _wrong_mouth(words)


def _wrong_number(words: Sequence[str], tags: Sequence[str]) -> bool:
    for start, word in enumerate(words):
        if word not in _MANY and word not in _ONE:
            continue
        if words[start + 1 : start + 2] in (["few"], ["lot"], ["number"], ["pair"]):
            continue  # *a few people*
        if word == "that" and start and tags[start - 1].startswith(("NN", "VB")):
            continue  # a relative clause
        noun = _noun(tags, start + 1)
        if noun is None:
            continue
        if word in _ONE and words[_last_noun(tags, noun)] in _PLURAL:
            return True  # *a sunglasses*, *a swim trunks*
        if words[noun] in _NEITHER:
            continue
        alone = noun + 1 == len(words) or not tags[noun + 1].startswith("NN")  # and not *two swimming pools*
        if word in _ONE and tags[noun] == "NNS":
            return True
        if word in _MANY and tags[noun] == "NN" and (words[noun] in PEOPLE or alone) and not words[noun].endswith("s"):
            return True
    return any(one in _SEVERAL and other in PEOPLE for one, other in pairwise(words))  # *two people woman*


def _noun(tags: Sequence[str], start: int) -> int | None:
    """The first noun of the noun phrase that begins here; what follows it may be a verb that looks like a noun."""
    for place in range(start, len(tags)):
        if tags[place].startswith("NN"):
            return place
        if not tags[place].startswith(("JJ", "CD", "VBN", "RB")):
            return None
    return None


def _last_noun(tags: Sequence[str], noun: int) -> int:
    """The last of the nouns that stand beside each other from this one on."""
    while noun + 1 < len(tags) and tags[noun + 1].startswith("NN"):
        noun += 1
    return noun


def _wrong_verb(words: Sequence[str], tags: Sequence[str]) -> bool:
    """The subject is the first noun phrase: *is* for one, *are* for several; *a man and a dog* are several."""
    if not words:
        return False
    begin = 1 if words[0] in ("a", "an", "the") or words[0] in _MANY | _ONE else 0
    head = _noun(tags, begin)
    if head is None:
        return False
    if _is_joined(words, tags, _last_noun(tags, head)):
        return True
    for place in range(head + 1, len(words)):
        if words[place] in ("and", "that", "which", "who", "while", "as", "where"):
            return False
        if words[place] in ("is", "are", "was", "were", "has", "have"):
            several = words[place] in ("are", "were", "have")
            if words[head] in _COLLECTIVE | _NEITHER or "of" in words[head:place]:
                return False
            many = words[0] in _MANY or tags[head] == "NNS"
            one = words[0] in ("a", "an", "one") and tags[head] == "NN"
            return (many and not several) or (one and several)
        if tags[place].startswith("VB") and tags[place] != "VBG":
            return False
    return False


def _is_joined(words: Sequence[str], tags: Sequence[str], noun: int) -> bool:
    """Whether a noun phrase that ends here is joined with another one, and both are said to be one."""
    if words[noun + 1 : noun + 2] != ["and"] or noun + 2 >= len(words) or words[noun + 2] not in _DETERMINERS | _ONE:
        return False
    second = _noun(tags, noun + 3)
    if second is None:
        return False
    behind = _last_noun(tags, second) + 1
    return behind < len(words) and words[behind] in ("is", "was", "has")


def _wrong_pronoun(words: Sequence[str], tags: Sequence[str]) -> bool:
    said = set(words)
    if said & {"he", "him", "himself", "his"} and said & FEMALE and not said & (MALE | _PETS | SOMEBODY):
        return True
    if said & {"her", "herself", "she"} and said & MALE and not said & (FEMALE | _PETS | SOMEBODY):
        return True
    if "its" in said or "itself" in said:
        nouns = [word for word, tag in zip(words, tags, strict=True) if tag.startswith("NN")]
        before = nouns[: sum(tag.startswith("NN") for tag in tags[: _place(words, ("its", "itself"))])]
        return bool(before) and all(word in PEOPLE for word in before)
    return False


def _place(words: Sequence[str], wanted: Sequence[str]) -> int:
    return min(place for place, word in enumerate(words) if word in wanted)


def _wrong_mouth(words: Sequence[str]) -> bool:
    """*in its mouth* says where something else is: *a stick in its mouth*, and not *a cat sits in its mouth*."""
    for place, word in enumerate(words):
        if word not in _MOUTH or place < 2 or words[place - 1] not in _OWNERS:
            continue
        if words[place - 1] == "its" and not _PETS.intersection(words) and PEOPLE.intersection(words):
            return True
        behind, relation = words[place + 1 : place + 2], words[place - 2]
        if relation == "with" and behind and behind[0] in ("open", "wide", "full", "closed"):
            continue
        if relation not in ("in", "between", "from"):
            return True
        held = [at for at in range(1, place - 2) if words[at] in _DETERMINERS or words[at] == "with"]
        if not held or words[held[-1] - 1] in _PLACES or words[place - 3] in PEOPLE:
            return True
    return False
