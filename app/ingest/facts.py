"""What files say about photographs: from decoding to the library, and once more for what was stored before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from index import FactsFilled, Library, PhotoFacts, Place
from model.images.processes import Decoders
from model.images.types import PhotoFacts as ReadFacts


def photo_facts(read: ReadFacts) -> PhotoFacts:
    """Facts as the library keeps them."""
    return PhotoFacts(**{**vars(read), "place": None if read.place is None else Place(*read.place)})


def fill_facts(library: Library, threads: int, progress: Callable[[int, int], None]) -> FactsFilled:
    """Ask the files of all images that nobody has asked yet; resumes where it stopped.

    They are read in processes that can be stopped. `progress` is told how many files of how many are done.
    """
    decoders = Decoders()
    with ThreadPoolExecutor(threads, thread_name_prefix="visem-facts") as pool:

        def read(contents: Sequence[bytes]) -> list[PhotoFacts]:
            return [photo_facts(one) for one in pool.map(decoders.read_facts, contents)]

        try:
            return library.backfill.fill_facts(read, progress)
        finally:
            decoders.close()
