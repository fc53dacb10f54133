"""Requests of a client, and what is to be learnt from the answers."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.app.helpers import form
from tests.torture.history.operations import History, Kind, Operation

TIMEOUT = 90.0
"""Seconds without an answer after which a client gives up."""
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """Status, body, and what is wrong with them; status 0: none came."""

    status: int
    body: bytes
    code: str
    wrong: str
    engine: str = ""

    @property
    def done(self) -> bool:
        return 200 <= self.status < 400

    @property
    def document(self) -> Any:
        """The JSON of an answer."""
        return json.loads(self.body)


class Caller:
    """Sends the requests of one client to any of some services, `host:port` each, and notes them in a history."""

    def __init__(self, name: str, addresses: Sequence[str], history: History, key: str | None = None) -> None:
        self.name = name
        self.addresses = addresses
        self._history = history
        self._headers = {} if key is None else {"X-API-Key": key}
        self._turn = 0

    def note(self, kind: Kind, subject: str, started: float, answer: Answer, value: Any = None) -> Operation:
        """Add an operation to the history."""
        told = (answer.status, answer.code, value, answer.wrong, answer.engine)
        one = Operation(self.name, kind, subject, started, time.monotonic(), *told)
        self._history.note(one)
        return one

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        """Send a request to the next of the services, in a connection of its own."""
        self._turn += 1
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        connection = http.client.HTTPConnection(self.addresses[self._turn % len(self.addresses)], timeout=TIMEOUT)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            read = response.read()
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, repr(error).encode(), "", "")
        finally:
            connection.close()
        if response.status < 400:
            return Answer(response.status, read, "", "")
        return _problem(response.status, response.getheader("Content-Type", ""), read)

    # Each of these asks, and notes what was learnt.

    def get(self, image_id: str) -> Operation:
        started = time.monotonic()
        answer = self.ask("GET", f"/v1/images/{image_id}")
        return self.note("get", image_id, started, answer, answer.document["metadata"] if answer.done else None)

    def content(self, image_id: str) -> Operation:
        started = time.monotonic()
        answer = self.ask("GET", f"/v1/images/{image_id}/content")
        return self.note(
            "content", image_id, started, answer, hashlib.sha256(answer.body).hexdigest() if answer.done else None
        )

    def find(self, image_id: str, picture: bytes) -> Operation:
        """Search for a picture, which is to be found as the image with this id."""
        started = time.monotonic()
        answer = self.ask("POST", "/v1/search/image", *form({"k": "5"}, [("image", picture)]))
        found = [hit["id"] for hit in answer.document["hits"]] if answer.done else None
        return self.note("find", image_id, started, answer, found)

    def captions(self, image_id: str) -> Operation:
        started = time.monotonic()
        answer = self.ask("GET", f"/v1/images/{image_id}/captions")
        texts = [one["text"] for one in answer.document["captions"] if one["origin"] == "user"] if answer.done else None
        return self.note("captions", image_id, started, answer, texts)

    def written(self, image_id: str) -> Operation:
        """How many captions of the captioner an image has."""
        started = time.monotonic()
        answer = self.ask("GET", f"/v1/images/{image_id}/captions")
        origins = [one["origin"] for one in answer.document["captions"]] if answer.done else []
        return self.note("written", image_id, started, answer, origins.count("captioner"))

    def listing(self, cursor: str | None = None) -> tuple[Operation, str | None]:
        """A page of the newest images, or the one after, and the cursor of the next."""
        started = time.monotonic()
        path = "/v1/images?limit=200" + ("" if cursor is None else f"&cursor={cursor}")
        answer = self.ask("GET", path)
        document = answer.document if answer.done else {"items": [], "next_cursor": None}
        ids = [one["id"] for one in document["items"]]
        return self.note("list", "", started, answer, ids), document["next_cursor"]

    def add(self, picture: bytes, **fields: str) -> Operation:
        started = time.monotonic()
        answer = self.ask("POST", "/v1/images", *form(fields, [("files", picture)]))
        id = answer.document["results"][0]["image"]["id"] if answer.done else None
        return self.note("add", hashlib.sha256(picture).hexdigest(), started, answer, id)

    def patch(self, image_id: str, key: str, value: Any) -> Operation:
        started = time.monotonic()
        body = json.dumps({"metadata": {key: value}}).encode()
        answer = self.ask("PATCH", f"/v1/images/{image_id}", body, "application/json")
        metadata = answer.document["metadata"] if answer.done else None
        return self.note("patch", image_id, started, answer, [key, value, metadata])

    def delete(self, image_id: str) -> Operation:
        started = time.monotonic()
        return self.note("delete", image_id, started, self.ask("DELETE", f"/v1/images/{image_id}"))

    def schedule(self, image_id: str) -> Operation:
        """Delete as the page does it."""
        started = time.monotonic()
        return self.note("schedule", image_id, started, self.ask("POST", f"/photos/{image_id}/delete", b"", FORM))

    def restore(self, image_id: str) -> Operation:
        started = time.monotonic()
        return self.note("restore", image_id, started, self.ask("POST", f"/photos/{image_id}/restore", b"", FORM))

    def set_captions(self, image_id: str, texts: list[str]) -> Operation:
        started = time.monotonic()
        body = json.dumps({"captions": texts}).encode()
        answer = self.ask("PUT", f"/v1/images/{image_id}/captions", body, "application/json")
        return self.note("set captions", image_id, started, answer, texts)

    def say(self, text: str) -> Operation:
        started = time.monotonic()
        answer = self.ask("POST", "/v1/sentences", json.dumps({"text": text}).encode(), "application/json")
        id = answer.document["results"][0]["sentence"]["id"] if answer.done else None
        return self.note("say", text, started, answer, id)

    def sentence(self, sentence_id: str) -> Operation:
        started = time.monotonic()
        return self.note("sentence", sentence_id, started, self.ask("GET", f"/v1/sentences/{sentence_id}"))

    def unsay(self, sentence_id: str) -> Operation:
        started = time.monotonic()
        return self.note("unsay", sentence_id, started, self.ask("DELETE", f"/v1/sentences/{sentence_id}"))


def _problem(status: int, content_type: str, body: bytes) -> Answer:
    if content_type != "application/problem+json":
        return Answer(status, body, "", f"{content_type or 'no type'}: {body[:100]!r}")
    try:
        document = json.loads(body)
        same = document["status"] == status and document["title"] and document["detail"]
        wrong = "" if same else f"incomplete problem: {body[:200]!r}"
        return Answer(status, body, document["code"], wrong, document.get("engine", ""))
    except (ValueError, KeyError, TypeError):
        return Answer(status, body, "", f"no problem document: {body[:100]!r}")
