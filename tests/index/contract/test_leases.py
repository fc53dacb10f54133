"""Leases, in every catalog: one process at a time has one, and it ends by itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from index.interfaces import Catalog


def test_one_holder_at_a_time(catalog: Catalog, other: Catalog) -> None:
    assert catalog.leases.claim("work", "first", 60)
    assert not other.leases.claim("work", "second", 60)
    assert catalog.leases.claim("work", "first", 60)  # for longer
    assert other.leases.claim("other work", "second", 60)


def test_what_is_given_back_is_free(catalog: Catalog, other: Catalog) -> None:
    assert catalog.leases.claim("work", "first", 60)
    other.leases.release("work", "second")  # not its own
    assert not other.leases.claim("work", "second", 60)
    catalog.leases.release("work", "first")
    assert other.leases.claim("work", "second", 60)


def test_it_ends_when_its_time_is_over(catalog: Catalog, other: Catalog) -> None:
    assert catalog.leases.claim("work", "first", 0.2)
    time.sleep(0.3)
    assert other.leases.claim("work", "second", 60)
    assert not catalog.leases.claim("work", "first", 60)


def test_of_many_at_once_one_gets_it(catalog: Catalog, other: Catalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        parts = [catalog, other] * 8
        got = list(pool.map(lambda at: parts[at].leases.claim("work", str(at), 60), range(len(parts))))
    assert got.count(True) == 1


def test_the_rest_of_the_catalog_does_not_notice(catalog: Catalog) -> None:
    before = catalog.state()
    assert catalog.leases.claim("work", "first", 60)
    assert catalog.state() == before
    assert catalog.problems() == []
