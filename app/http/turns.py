"""What comes in is dealt with a piece at a time, and clients take turns.

A request costs the event loop something before anybody can refuse it, and so does each piece of a body. If a client
sends hundreds at once, the request of another one is not the last of them, but the next.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.embedding.fairness import FairQueue
from app.http.clients import client_of

_IN_A_ROUND = 3
"""With one, a newcomer waits for as many rounds as there are clients; and in a round all that came in is received."""


class Turns:
    """Lets a few requests begin, or pieces of bodies be read, in each round of the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_of(scope)
        begun = False

        async def receive_in_turn() -> Message:
            nonlocal begun
            if begun:  # the first piece came with the head
                await self._turn(client)
            begun = True
            return await receive()

        await self._turn(client)
        await self._app(scope, receive_in_turn, send)

    async def _turn(self, client: str) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._next, loop)
        self._waiting.push(client, [turn])
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(_IN_A_ROUND, len(self._waiting))):
            turn = self._waiting.pop()
            if not turn.done():  # the server gave the request up
                turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)
