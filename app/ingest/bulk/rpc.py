"""How workers and the driver talk: each question goes to an actor, where a thread of the driver fetches it and answers.

Ray lets a driver call its workers, but not the other way round. With this the library, and the passwords of its
engines, stay with the driver: workers ask it what is known, and hand it what is new.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, NamedTuple

from app.ingest.bulk.errors import BulkError


class Question(NamedTuple):
    """What a worker wants of the driver: the name of a method of `app.ingest.bulk.driver.Answers`, its arguments."""

    number: int
    method: str
    arguments: tuple[Any, ...]


class Desk:
    """The actor between them. It keeps nothing but questions without an answer; large arguments are references."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Called by workers: wait for the answer. BulkError if the driver could not do it."""
        question = Question(next(self._numbers), method, arguments)
        self._answers[question.number] = asyncio.get_running_loop().create_future()
        await self._questions.put(question)
        return await self._answers[question.number]

    async def next(self) -> Question:
        """Called by the driver: the next question, as soon as there is one."""
        return await self._questions.get()

    async def answer(self, number: int, answer: Any) -> None:
        """Called by the driver."""
        waiting = self._answers.pop(number)
        if not waiting.cancelled():
            waiting.set_result(answer)


def ask(desk: Any, method: str, *arguments: Any) -> Any:
    """Ask the driver, from a worker; BulkError if it could not do it."""
    import ray

    answer = ray.get(desk.ask.remote(method, arguments))
    if isinstance(answer, BulkError):
        raise answer
    return answer
