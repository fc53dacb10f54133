"""Clients that do everything at random that people do with a library, all at the same time."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.app.helpers import picture
from tests.torture.history.caller import Caller
from tests.torture.history.operations import Operation

PATCHES = 40
"""Patches of an image, after which all turn to the next one: there is a limit to metadata."""
CONTESTED = 6
"""Pictures that all clients add and delete."""
_PAUSE = 0.02
_OWN = 1_000_000
"""Seeds of the pictures of one client."""


@dataclass
class Shared:
    """What all clients work with: images whose metadata all change, and pictures that come and go."""

    patched: list[str] = field(default_factory=list)
    patches: int = 0
    contested: dict[int, str] = field(default_factory=dict)

    def next_patched(self) -> str:
        """The image that all patch now."""
        self.patches += 1
        return self.patched[self.patches // PATCHES % len(self.patched)]


class Client(threading.Thread):
    """A client that works until `stop` is set. `known` are pictures of its own that are stored already, by id."""

    def __init__(
        self, caller: Caller, number: int, shared: Shared, *, known: dict[str, int], captions: bool, reads: bool = False
    ) -> None:
        """`captions`: some images are added with captions of the captioner. `reads`: it only reads."""
        super().__init__(name=caller.name, daemon=True)
        self._caller = caller
        self._shared = shared
        self._random = random.Random(number)  # noqa: S311
        self._seeds = iter(range(_OWN * (number + 1), _OWN * (number + 2)))
        self._captions = captions
        self._images = known
        self._captioned: list[str] = []
        self._sentences: list[str] = []
        self._gone: list[tuple[str, int]] = []
        self._set: list[tuple[str, str]] = []
        self._count = 0
        self.stop = threading.Event()
        self.failure: Exception | None = None
        self.owed: list[str] = []
        """Images that were added with captions of the captioner."""
        self._chores: list[tuple[Callable[[], object], int]] = [
            (self._add, 12),
            (self._find, 14),
            (self._look, 14),
            (self._patch, 14),
            (self._delete, 5),
            (self._look_for_deleted, 6),
            (self._contest, 6),
            (self._undo, 4),
            (self._caption, 8),
            (self._say, 6),
            (self._page, 2),
        ]
        if reads:
            self._chores = [(self._find, 3), (self._look, 6), (self._page, 1)]

    def run(self) -> None:
        """Do one thing after the other."""
        chores, weights = zip(*self._chores, strict=True)
        try:
            while not self.stop.is_set():
                [chore] = self._random.choices(chores, weights)
                chore()
                time.sleep(_PAUSE)
        except Exception as error:  # whoever reads the history is to know that it is not complete
            self.failure = error

    def _next(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._caller.name}-{self._count}"

    def _one(self) -> tuple[str, int] | None:
        return self._random.choice(list(self._images.items())) if self._images else None

    def _add(self) -> None:
        seed = next(self._seeds)
        owed = self._captions and self._random.random() < 0.2
        fields = {"metadata": json.dumps({"seed": seed}), **({"captions": "1"} if owed else {})}
        added = self._caller.add(picture(seed), **fields)
        if added.done:
            self._images[added.value] = seed
            if owed:
                self.owed.append(added.value)

    def _find(self) -> None:
        if one := self._one():
            self._caller.find(one[0], picture(one[1]))

    def _look(self) -> None:
        ids = [*self._shared.patched, *(one[0] for one in [self._one()] if one)]
        look = self._random.choice((self._caller.get, self._caller.get, self._caller.content))
        look(self._random.choice(ids))

    def _patch(self) -> None:
        if self._set and self._random.random() < 0.3:
            image_id, key = self._set.pop()
            self._caller.patch(image_id, key, None)
            return
        image_id, key = self._shared.next_patched(), self._next("key")
        if self._caller.patch(image_id, key, self._count).done:
            self._set.append((image_id, key))

    def _delete(self) -> None:
        if one := self._one():
            self._caller.delete(one[0])
            self._forget(*one)

    def _look_for_deleted(self) -> None:
        if self._gone:
            image_id, seed = self._random.choice(self._gone)
            if self._random.random() < 0.5:
                self._caller.get(image_id)
            else:
                self._caller.find(image_id, picture(seed))

    def _contest(self) -> None:
        """Add or delete a picture that others add and delete, too."""
        seed = self._random.randrange(CONTESTED)
        known = self._shared.contested.get(seed)
        if known is not None and self._random.random() < 0.5:
            self._caller.delete(known)
            return
        added = self._caller.add(picture(seed))
        if added.done:
            self._shared.contested[seed] = added.value
            self._caller.content(added.value)

    def _undo(self) -> None:
        if one := self._one():
            self._caller.schedule(one[0])
            if self._random.random() < 0.6 and self._caller.restore(one[0]).done:
                return
            self._forget(*one)

    def _caption(self) -> None:
        if self._captioned and self._random.random() < 0.7:
            image_id = self._random.choice(self._captioned)
            if self._random.random() < 0.5:
                self._caller.captions(image_id)
                return
        elif one := self._one():
            image_id = one[0]
            self._captioned.append(image_id)
        else:
            return
        texts = [f"a dog on the beach {self._next('text')}" for _ in range(self._random.randint(0, 2))]
        self._caller.set_captions(image_id, texts)

    def _say(self) -> None:
        if not self._sentences or self._random.random() < 0.5:
            said = self._caller.say(f"a red car {self._next('said')}")
            if said.done:
                self._sentences.append(said.value)
            return
        sentence_id = self._random.choice(self._sentences)
        (self._caller.unsay if self._random.random() < 0.3 else self._caller.sentence)(sentence_id)

    def _page(self) -> None:
        self._caller.listing()

    def _forget(self, image_id: str, seed: int) -> None:
        del self._images[image_id]
        self._gone.append((image_id, seed))
        if image_id in self._captioned:
            self._captioned.remove(image_id)


def last_look(caller: Caller, operations: list[Operation]) -> list[Operation]:
    """Read everything that was ever added, when all is quiet: records, files, captions, and all pages of the list."""
    looks: list[Operation] = []
    added = dict.fromkeys(one.value for one in operations if one.kind == "add" and one.done)
    for image_id in added:
        looks.append(caller.get(image_id))
        if looks[-1].done:
            looks += [caller.content(image_id), caller.captions(image_id)]
    said = dict.fromkeys(one.value for one in operations if one.kind == "say" and one.done)
    looks += [caller.sentence(sentence_id) for sentence_id in said]
    cursor: str | None = None
    while True:
        page, cursor = caller.listing(cursor)
        looks.append(page)
        if cursor is None:
            return looks
