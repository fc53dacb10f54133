"""Forms with many files take one descriptor, and what has no room is refused before it is read."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from app.http import spool as spool_module
from app.http.spool import IN_MEMORY, Spool, SpooledUpload
from tests.app.helpers import assert_problem, picture, post_images
from tests.app.listening import Listening, answer


def test_parts_follow_each_other_in_one_file() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    spool = Spool()
    contents = [bytes([n]) * (IN_MEMORY // 2 + n) for n in range(20)]

    async def write() -> list[SpooledUpload]:
        uploads = []
        for content in contents:
            uploads.append(SpooledUpload(spool, filename="a"))
            for start in range(0, len(content), 50_000):
                await uploads[-1].write(content[start : start + 50_000])
            await uploads[-1].seek(0)
        uploads.append(SpooledUpload(spool, filename="empty"))
        return uploads

    with ThreadPoolExecutor(1) as pool:  # the browser's tests leave an event loop in the main thread
        uploads = pool.submit(anyio.run, write).result()
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    assert [upload.size for upload in uploads] == [*map(len, contents), 0]
    assert [upload.file.read() for upload in reversed(uploads)] == [b"", *reversed(contents)]
    uploads[3].file.seek(5)
    assert uploads[3].file.read(7) == contents[3][5:12]
    assert uploads[3].file.read() == contents[3][12:]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, uploads[0].close).result()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_large_form_is_written_and_removed_by_one_thread_which_is_not_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    class Watched(SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, data: Any) -> int:
            if len(data) > IN_MEMORY // 2:
                seen.append(threading.get_native_id())
            return super().write(data)

        def close(self) -> None:
            seen.append(threading.get_native_id())
            super().close()

    monkeypatch.setattr(spool_module, "SpooledTemporaryFile", Watched)

    async def forms() -> int:
        async def form() -> None:
            upload = SpooledUpload(Spool(), filename="a")
            for _ in range(3):
                await upload.write(bytes(IN_MEMORY))
            await upload.write(b"more")
            await upload.close()

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(form)
        return threading.get_native_id()

    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(anyio.run, forms).result()
    by_others = Counter(thread for thread in seen if thread != loop)
    assert len(by_others) == 1
    assert seen.count(loop) <= 8  # what fits into memory
    assert by_others.total() >= 8 * 3


def test_a_temporary_folder_that_is_full_is_said_so_and_everything_goes_on(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", full)
        assert_problem(post_images(client, ("a.jpg", picture(1))), 507, "storage_failed")
        answered = client.post("/v1/captions", files={"image": ("a.jpg", picture(1))})
        assert_problem(answered, 507, "storage_failed")
    assert post_images(client, ("a.jpg", picture(1))).status_code == 200


def test_descriptors_that_run_out_are_named(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: Spool, data: bytes) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", exhausted)
        response = post_images(client, ("a.jpg", picture(1)))
        assert_problem(response, 503, "descriptors_exhausted")
        assert response.headers["retry-after"] == "5"


def test_bodies_beyond_the_budget_are_refused_at_once(listen: Callable[..., Listening]) -> None:
    server = listen(upload_budget=4 * 2**20)
    head = (
        "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {4 * 2**20}\r\n\r\n--x"
    )
    with server.connect() as first, server.connect() as second, server.connect() as chunked:
        first.sendall(head.encode())
        time.sleep(0.3)
        started = time.monotonic()
        second.sendall(head.encode())
        refused = answer(second)
        assert time.monotonic() - started < 15
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert re.search(rb"retry-after: ([5-9]|10)\r\n", refused.lower())
        chunked.sendall(
            b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096
        )
        assert answer(chunked).startswith(b"HTTP/1.1 503 ")
        assert server.get("/v1/search?q=dog")[0] in (200, 422)
    with server.connect() as again:
        time.sleep(0.3)
        again.sendall(head.encode())
        again.settimeout(0.5)
        with pytest.raises(TimeoutError):
            again.recv(1)


def test_one_who_sends_slowly_keeps_no_other_client_out(listen: Callable[..., Listening]) -> None:
    server = listen(max_jobs=2)
    head = (
        b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 1000\r\n\r\n"
    )
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nno picture\r\n--x--\r\n'
    with server.connect() as one, server.connect() as two, server.connect() as three:
        for connection in (one, two):
            connection.sendall(head)
        time.sleep(0.3)
        three.sendall(head)
        assert answer(three).startswith(b"HTTP/1.1 503 "), "refused before its body was sent"
        with server.connect("127.0.0.2") as other:
            other.sendall(head.replace(b"1000", b"%d" % len(form)) + form)
            assert b"images_rejected" in other.recv(65536)


@pytest.mark.parametrize("files", [24])
def test_many_ingestions_within_a_small_budget_are_all_stored(
    connect: Callable[..., TestClient], silent_space: object, files: int
) -> None:
    client = connect(space=silent_space, memory_budget=2**20, batch_size=4)

    def upload(number: int) -> int:
        named = [(f"{n}.jpg", picture(1000 * number + n)) for n in range(files)]
        created: int = post_images(client, *named).json()["created"]
        return created

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(upload, range(6))) == [files] * 6
    assert client.get("/v1/images").json()["total"] == 6 * files
