"""One real server with the shipped model and one real Chromium for all tests of a session."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.app.helpers import picture

PHOTOS = Path(__file__).parents[1] / "fixtures" / "photos"
TIMEOUT = 30_000.0
"""Milliseconds: the machine may be busy, and that alone is no failure."""
expect.set_options(timeout=TIMEOUT)

SENTENCES = [
    "A cat looks at the camera.",
    "A woman in an orange suit smiles.",
    "A man takes a picture with a camera.",
    "A red flower.",
    "A rocket stands in the night.",
    "A white dog runs on the beach.",
]

PROGRAM = """
from app.main import serve
from app.service import Service
from app.settings import Settings

with Service.open(Settings()) as service:
    serve(service)
"""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program. Continuous integration must have one; elsewhere the tests are skipped without.

    The shell is the same browser without its own windows and menus, and takes a third of the time for a page.
    """
    programs = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        reason = "there is no chromium; on Debian: apt-get install chromium-headless-shell"
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts servers on fresh libraries, settings as keywords, and returns their addresses."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_one(**settings: str) -> str:
        folder = tmp_path_factory.mktemp("server")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VISEM_")}
        environment |= {"VISEM_LIBRARY": str(folder / "library"), "VISEM_PORT": "0", "VISEM_DEVICE": "cpu"}
        environment |= {f"VISEM_{name.upper()}": value for name, value in settings.items()}
        log = folder / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-c", PROGRAM], env=environment, stderr=stderr, cwd=Path(__file__).parents[2]
            )
        processes.append(process)
        return _address(log, process)

    try:
        yield start_one
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            message = json.loads(line)["message"] if line.startswith("{") and line.endswith("}") else ""
            if message.startswith("Uvicorn running on "):
                return str(message.split()[3])
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


_HEARD = 50  # milliseconds


@dataclass
class Watched:
    """What a browser said and asked for behind our back."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, part: str) -> None:
        """A console error with this in it is what the test is about."""
        self.expected.append(part)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def on_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.foreign.append(request.url)

    def on_request_failed(self, request: Any) -> None:
        """A page that is left gives up what it still loads, and htmx reports that as an error."""
        if request.failure == "net::ERR_ABORTED":
            self.expected = [*{*self.expected, "htmx:afterRequest,", "htmx:sendError,", "htmx:sendAbort,"}]

    def check(self) -> None:
        assert self.foreign == []
        assert [error for error in self.errors if not any(part in error for part in self.expected)] == []


@pytest.fixture
def watched(server: str) -> Watched:
    return Watched(server)


@pytest.fixture
def open_context(browser: Browser, server: str, watched: Watched) -> Iterator[Callable[..., BrowserContext]]:
    """Opens browser contexts on the server; at the end there must have been no error and no foreign request."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> BrowserContext:
        context = _context(browser, server, watched, **options)
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        for page in context.pages[:1]:
            page.wait_for_timeout(_HEARD)  # what was said by now arrives
    said = list(watched.errors)
    for context in contexts:
        context.close()  # what that gives up is an error for htmx, and no longer a failed request for us
    watched.errors = said
    watched.check()


def _context(browser: Browser, server: str, watched: Watched, **options: Any) -> BrowserContext:
    context = browser.new_context(**{"base_url": server, "viewport": {"width": 1440, "height": 900}, **options})
    context.set_default_timeout(TIMEOUT)
    context.on("console", watched.on_console)
    context.on("weberror", lambda error: watched.errors.append(str(error.error)))
    context.on("request", watched.on_request)
    context.on("requestfailed", watched.on_request_failed)
    return context


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    """A page of a wide window."""
    return open_context().new_page()


def drop(page: Page, data: bytes, name: str) -> None:
    """Drop an image file on a page."""
    _transfer(page, "drop", data, name, "image/jpeg")


def paste(page: Page, data: bytes, name: str, media_type: str = "image/jpeg") -> None:
    """Paste a file into a page."""
    _transfer(page, "paste", data, name, media_type)


def drag(page: Page, event: str) -> None:
    """Drag a file over a page ("dragover"), or out of it ("dragleave")."""
    _transfer(page, event, b"", "dragged.jpg", "image/jpeg")


def drop_many(page: Page, count: int, seed: int) -> None:
    """Drop so many different pictures at once."""
    files = [[f"{number}.jpg", base64.b64encode(picture(seed=seed + number)).decode()] for number in range(count)]
    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, encoded] of files) {
                const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
            document.dispatchEvent(new DragEvent("drop", options));
        }""",
        files,
    )


def paste_text_and_picture(page: Page, selector: str, text: str | None, data: bytes) -> bool:
    """Paste a picture, and its text if there is any, into an element; whether the browser is left to insert it."""
    return bool(
        page.evaluate(
            """([selector, text, encoded]) => {
                const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
                if (text !== null) transfer.setData("text/plain", text);
                const options = { bubbles: true, cancelable: true, clipboardData: transfer };
                return document.querySelector(selector).dispatchEvent(new ClipboardEvent("paste", options));
            }""",
            [selector, text, base64.b64encode(data).decode()],
        )
    )


def _transfer(page: Page, event: str, data: bytes, name: str, media_type: str) -> None:
    page.evaluate(
        """([event, encoded, name, type]) => {
            const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            const options = { bubbles: true, cancelable: true };
            document.dispatchEvent(
                event === "paste"
                    ? new ClipboardEvent(event, { ...options, clipboardData: transfer })
                    : new DragEvent(event, { ...options, dataTransfer: transfer }),
            );
        }""",
        [event, base64.b64encode(data).decode(), name, media_type],
    )


@dataclass(frozen=True)
class Added:
    """What was seen when the folder was added to a fresh library."""

    first_path: str
    first_heading: str
    summary: str
    watched: Watched


@pytest.fixture(scope="session")
def added(start: Callable[..., str], browser: Browser) -> tuple[str, Added]:
    """A server whose library was filled by a person: the first page, a folder picked, sentences typed."""
    server = start(undo_seconds="6")
    watched = Watched(server)
    context = _context(browser, server, watched)
    page = context.new_page()
    page.goto("/")
    first_path, first_heading = urlsplit(page.url).path, page.locator("h1").inner_text()
    page.set_input_files("#pick-folder", str(PHOTOS))
    page.locator("#summary", has_text="Done").wait_for()
    summary = page.locator("#summary").inner_text()
    page.get_by_label("Sentences, one a line").fill("\n".join(SENTENCES))
    page.get_by_role("button", name="Add sentences").click()
    page.locator("#sentence-status", has_text=f"{len(SENTENCES)} new").wait_for()
    context.close()
    return server, Added(first_path, first_heading, summary, watched)


@pytest.fixture(scope="session")
def server(added: tuple[str, Added]) -> str:
    """The address of the server, whose library holds the fixture photographs and some sentences."""
    return added[0]


@pytest.fixture(scope="session")
def ids(server: str) -> dict[str, str]:
    """The ids of the photographs by name."""
    records = httpx2.get(f"{server}/v1/images", params={"limit": 200}).json()["items"]
    return {record["filename"]: record["id"] for record in records}
