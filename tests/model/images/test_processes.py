"""Decoding in processes that can be stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model.errors import ImageError
from model.images.limits import DEFAULT_LIMITS, ImageLimits
from model.images.processes import Decoders, DecodersClosed
from model.images.reduction import Reduction, decode_reduced
from tests.model.images.files import encode, photograph, progressive_jpeg

ALL = Reduction()
SLOW = progressive_jpeg(6000, 6000, 60)
"""Within every limit, and some seconds of work."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    started = Decoders()
    yield started
    started.close()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("reduction", [ALL, Reduction(shorter=100, pixels=1_000_000), Reduction(longer=300)])
def test_the_same_pixels_as_in_this_process(decoders: Decoders, format_name: str, reduction: Reduction) -> None:
    data = encode(photograph(800, 600), format_name)
    here, there = (decode(data, DEFAULT_LIMITS, reduction) for decode in (decode_reduced, decoders.decode))
    np.testing.assert_array_equal(np.asarray(there.image), np.asarray(here.image))
    assert (there.media_type, there.width, there.height) == (here.media_type, 800, 600)
    assert min(here.image.size) >= 100 if reduction.shorter else True


def test_refusals_are_the_same_as_in_this_process(decoders: Decoders) -> None:
    picture = encode(photograph(), "JPEG")
    for data, limits in (
        (b"", DEFAULT_LIMITS),
        (b"no picture", DEFAULT_LIMITS),
        (picture[:2000], DEFAULT_LIMITS),
        (picture, ImageLimits(max_pixels=100)),
        (picture, ImageLimits(max_bytes=len(picture) - 1)),
    ):
        with pytest.raises(ImageError) as here:
            decode_reduced(data, limits, ALL)
        with pytest.raises(ImageError) as there:
            decoders.decode(data, limits, ALL)
        assert there.value.code == here.value.code


def test_many_threads_at_once(decoders: Decoders) -> None:
    pictures = [encode(photograph(64 + number, 48), "PNG") for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda data: decoders.decode(data, DEFAULT_LIMITS, ALL), pictures))
    assert [one.width for one in decoded] == [64 + number for number in range(24)]


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_decoded() -> None:
    decoders = Decoders(max_seconds=0.2)
    try:
        with pytest.raises(ImageError, match=r"more than 0\.2 seconds") as caught:
            decoders.decode(SLOW, DEFAULT_LIMITS, ALL)
        assert caught.value.code == "image_too_large"
        assert decoders.decode(encode(photograph(), "PNG"), DEFAULT_LIMITS, ALL).width == 160
    finally:
        decoders.close()


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    tasks = listed.parents[1].glob("*/children") if listed.exists() else []
    return {int(number) for task in tasks for number in task.read_text().split()}


def test_a_codec_that_crashes_harms_its_own_file_only() -> None:
    before = children()
    decoders = Decoders()
    try:
        assert decoders.decode(encode(photograph(), "PNG"), DEFAULT_LIMITS, ALL).width == 160
        (process,) = children() - before
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(decoders.decode, SLOW, DEFAULT_LIMITS, ALL)
            time.sleep(0.2)
            os.kill(process, signal.SIGSEGV)
            with pytest.raises(ImageError) as caught:
                running.result()
        assert caught.value.code == "image_unreadable"
        assert decoders.decode(encode(photograph(), "PNG"), DEFAULT_LIMITS, ALL).width == 160
    finally:
        decoders.close()


def test_closing_stops_what_is_being_decoded_and_leaves_nothing_behind() -> None:
    before, descriptors = children(), len(list(Path("/proc/self/fd").iterdir()))
    decoders = Decoders()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(decoders.decode, SLOW, DEFAULT_LIMITS, ALL) for _ in range(2)]
        time.sleep(0.5)
        started = time.monotonic()
        decoders.close()
        for one in running:
            with pytest.raises(DecodersClosed):
                one.result()
        assert time.monotonic() - started < 6
    with pytest.raises(DecodersClosed):
        decoders.decode(SLOW, DEFAULT_LIMITS, ALL)
    decoders.close()
    assert children() == before
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors  # those of earlier tests may go meanwhile


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process takes")
def test_a_process_that_waits_keeps_nothing_of_a_large_file() -> None:
    small, decoders = encode(photograph(64, 64), "JPEG"), Decoders()

    def megabytes() -> float:
        (process,) = decoders._idle
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii")
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon")) / 1024

    try:
        decoders.decode(small, DEFAULT_LIMITS, ALL)
        before = megabytes()
        decoders.decode(small + bytes(40_000_000), DEFAULT_LIMITS, ALL)
        end = time.monotonic() + 5
        while megabytes() > before + 8 and time.monotonic() < end:
            time.sleep(0.05)  # it answers first
        assert megabytes() <= before + 8
    finally:
        decoders.close()
