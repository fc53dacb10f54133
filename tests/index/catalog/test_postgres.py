"""What the catalog in PostgreSQL does beyond the contract that all catalogs keep."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url

import index
from index import FileInPlace, LibraryConfig, NewImage, NewSentence, Signature, Space, open_library, require_library
from index.catalog import migrations, open_catalog
from index.catalog.catalog import SqlCatalog
from index.drafts import image_drafts, sentence_drafts
from index.interfaces import Catalog
from tests.servers.postgres import PostgresServer

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]
Open = Callable[..., SqlCatalog]


@pytest.fixture
def opened(postgres_url: str, space: Space) -> Iterator[Open]:
    catalogs: list[Catalog] = []

    def open_one(url: str = postgres_url) -> Catalog:
        catalogs.append(open_catalog(url, space, lambda: True))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


def add(catalog: Catalog, space: Space, *images: NewImage, wait: Callable[[], object] = lambda: None) -> None:
    catalog.images.add(image_drafts(images, space.dimension), space, lambda names: wait() and None)


def test_keys_ascend_in_commit_order_while_a_transaction_is_slow(opened: Open, image: Image, space: Space) -> None:
    slow, quick = opened(), opened()
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert go_on.wait(20)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(add, slow, space, image(1), wait=wait)
        assert began.wait(20)
        second = pool.submit(add, quick, space, image(2))
        time.sleep(0.3)
        assert not second.done(), "a writer waits for the one before it"
        assert quick.images.count({}) == 0, "a reader waits for nobody"
        go_on.set()
        first.result(20), second.result(20)
    assert [record.filename for _, record in quick.images.page(None, 9, {})] == ["2.png", "1.png"]


def test_a_follower_misses_nothing_of_many_writers(opened: Open, image: Image, space: Space) -> None:
    writers, reader = [opened() for _ in range(3)], opened()
    feed = reader.images.feed()
    seen: list[int] = []
    position = None
    with ThreadPoolExecutor(3) as pool:
        work = [
            pool.submit(lambda n: [add(writers[n], space, image(100 * n + i)) for i in range(25)], n) for n in range(3)
        ]
        done = False
        while not done:
            done = all(one.done() for one in work)  # looked at before the last poll
            for batch in feed.poll(position):
                assert not seen or not len(batch.added) or batch.added[0] > seen[-1], "no key comes late"
                seen += batch.added.tolist()
                position = batch.position
        for one in work:
            one.result()
    feed.close()
    assert seen == reader.images.keys({}).tolist()
    assert len(seen) == 75


def test_a_writer_that_is_killed_frees_the_others(
    opened: Open, postgres_url: str, image: Image, space: Space, tmp_path: Path
) -> None:
    catalog = opened()
    program = (
        "import sys, time\n"
        "from index.catalog.postgres import PostgresDatabase\n"
        "from sqlalchemy.engine import make_url\n"
        "PostgresDatabase(make_url(sys.argv[1])).write(lambda connection: (print('in', flush=True), time.sleep(60)))\n"
    )
    worker = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, postgres_url], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"in\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(add, catalog, space, image(1))
            time.sleep(0.2)
            assert not waiting.done()
            worker.kill()
            waiting.result(20)
    finally:
        worker.kill()
        worker.communicate()
    assert catalog.images.count({}) == 1


def test_who_waits_too_long_for_the_lock_is_told(opened: Open, postgres_url: str, image: Image, space: Space) -> None:
    from index.catalog.postgres import PostgresDatabase

    catalog = opened()
    with closing(PostgresDatabase(make_url(postgres_url), busy_timeout=0.2)) as impatient:
        release = threading.Event()
        began = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(add, catalog, space, image(1), wait=lambda: (began.set(), release.wait(20)))
            assert began.wait(20)
            with pytest.raises(index.LibraryBusy):
                impatient.write(lambda connection: None)
            release.set()
            held.result(20)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_it_recovers_by_itself_after_a_restart(
    own_postgres_server: PostgresServer, how: signal.Signals, image: Image, space: Space
) -> None:
    url = own_postgres_server.schema("lib")
    with closing(open_catalog(url, space, lambda: True)) as catalog:
        add(catalog, space, image(1))
        feed = catalog.images.feed()
        (batch,) = list(feed.poll(None))
        own_postgres_server.stop(how)
        for act in (
            lambda: catalog.images.count({}),
            lambda: add(catalog, space, image(2)),
            lambda: list(feed.poll(batch.position)),
            lambda: catalog.images.records(batch.added),
            catalog.state,
        ):
            started = time.monotonic()
            with pytest.raises(index.EngineAway) as caught:
                act()
            assert caught.value.part == "catalog"
            assert time.monotonic() < started + 3, "nobody waits for what is away"
        own_postgres_server.start()
        deadline = time.monotonic() + 5
        while True:
            try:
                catalog.state()
                break
            except index.EngineAway:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert list(feed.poll(batch.position)) == []
        add(catalog, space, image(3))
        (later,) = list(feed.poll(batch.position))
        assert len(later.added) == 1
        assert len(catalog.images.records(later.added)) == 1
        feed.close()


def test_tables_that_are_gone_are_told(
    postgres_server: PostgresServer, postgres_url: str, image: Image, space: Space
) -> None:
    with closing(open_catalog(postgres_url, space, lambda: True)) as catalog:
        name = postgres_url.rpartition("%3D")[2]
        postgres_server.sql(f"DROP SCHEMA {name} CASCADE; CREATE SCHEMA {name}")
        for act in (catalog.state, lambda: catalog.images.count({}), lambda: add(catalog, space, image(1))):
            with pytest.raises(index.LibraryReplaced):
                act()


def test_a_read_that_has_all_it_asked_for_when_the_server_ends_says_so(
    own_postgres_server: PostgresServer, space: Space
) -> None:
    url = own_postgres_server.schema("lib")
    with closing(open_catalog(url, space, lambda: True)) as catalog:

        def read() -> None:
            with catalog._database.read() as connection:  # type: ignore[attr-defined]
                connection.execute(text("SELECT 1"))
                own_postgres_server.stop(signal.SIGQUIT)

        with pytest.raises(index.EngineAway):
            read()
        own_postgres_server.start()


def test_a_connection_is_tested_only_where_it_was_not_in_use_just_now(
    opened: Open, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = opened()
    tests: list[object] = []
    ping = PGDialect_psycopg.do_ping
    monkeypatch.setattr(PGDialect_psycopg, "do_ping", lambda self, one: (tests.append(one), ping(self, one))[1])
    catalog.state()
    for _ in range(5):
        catalog.state()
    assert len(tests) <= 1
    time.sleep(0.6)
    tests.clear()
    postgres_server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'visem' "
        "AND state IN ('idle', 'idle in transaction')"
    )
    catalog.captions.retry()  # a write, which is not done again by itself
    assert tests


def test_a_read_whose_connection_is_lost_is_made_again_once(
    opened: Open, postgres_server: PostgresServer, image: Image, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.catalog.postgres._FRESH", 60.0)  # no connection is tested before its use
    catalog = opened()
    add(catalog, space, image(1))
    keys = catalog.images.keys({})
    catalog.images.stored(keys, 1)
    postgres_server.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'visem' "
        "AND state IN ('idle', 'idle in transaction')"
    )
    found, _ = catalog.images.stored(keys, 1)
    assert found.tolist() == keys.tolist()
    state = catalog.engine()
    assert state is not None
    assert (state.part, state.away, state.failures, state.retries) == ("catalog", False, 0, 1)


def test_a_path_too_long_for_an_index_is_told(opened: Open, image: Image, space: Space) -> None:
    catalog = opened()
    source = catalog.sources.register("/photos")
    file = FileInPlace(source.id, secrets.token_hex(1800), Signature(1, 2, 3))  # compresses badly
    with pytest.raises(index.StorageFailed, match="exceeds"):
        add(catalog, space, image(1, file=file))
    assert catalog.images.count({}) == 0


def test_its_password_is_never_told(own_postgres_server: PostgresServer, space: Space) -> None:
    own_postgres_server.stop()
    url = f"postgresql+psycopg://visem:topsecret@/visem?host={own_postgres_server.folder}"
    with pytest.raises(index.EngineAway) as caught:
        open_catalog(url, space, lambda: True)
    shown = f"{caught.value} {caught.value.reason} {LibraryConfig(Path('x'), catalog=url)}"
    assert "topsecret" not in shown
    with pytest.raises(index.CatalogUnsupported) as other:
        open_catalog("topsecret@host:db", space, lambda: True)
    assert "topsecret" not in str(other.value)


def test_what_is_no_library_is_refused(
    postgres_server: PostgresServer, postgres_url: str, root: Path, space: Space
) -> None:
    config = LibraryConfig(root, catalog=postgres_url)
    with pytest.raises(index.LibraryNotFound):
        open_library(config)
    require_library(config)  # looks at nothing that is on another machine
    with pytest.raises(index.CatalogUnsupported, match="search_path"):
        open_catalog(f"{postgres_url}_not", space, lambda: True)
    name = postgres_url.rpartition("3D")[2]
    postgres_server.sql(f"CREATE TABLE {name}.things (id int)")
    with pytest.raises(index.CatalogCorrupted, match="something else"):
        open_library(config, space)


def test_a_newer_catalog_is_refused_by_name_and_left_alone(
    opened: Open, postgres_server: PostgresServer, postgres_url: str, space: Space
) -> None:
    opened().close()
    name = postgres_url.rpartition("3D")[2]
    postgres_server.sql(f"UPDATE {name}.meta SET value = '99' WHERE name = 'schema_version'")  # noqa: S608
    with pytest.raises(index.CatalogUnsupported, match="version 99"):
        open_catalog(postgres_url, space, lambda: True)
    assert postgres_server.sql(f"SELECT value FROM {name}.meta WHERE name = 'schema_version'") == [("99",)]  # noqa: S608


def test_several_that_open_an_older_catalog_bring_it_up_to_date_once(
    opened: Open,
    postgres_server: PostgresServer,
    postgres_url: str,
    image: Image,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    add(opened(), space, image(1))
    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text((Path(migrations.__file__).with_name("env.py")).read_text())
    version = migrations.schema.SCHEMA_VERSION
    for number, down, body in (
        (version, None, "pass"),
        (version + 1, version, 'op.add_column("images", Column("extra", Integer, server_default="7"))'),
    ):
        (scripts / "versions" / f"v{number}.py").write_text(
            "from alembic import op\nfrom sqlalchemy import Column, Integer\n"
            f"revision = '{number}'\ndown_revision = {str(down) if down is None else repr(str(down))}\n"
            f"def upgrade():\n    {body}\n"
        )
    monkeypatch.setattr(migrations, "_SCRIPTS", scripts)
    monkeypatch.setattr(migrations.schema, "SCHEMA_VERSION", version + 1)
    with ThreadPoolExecutor(4) as pool:
        states = list(pool.map(lambda _: opened().state(), range(4)))
    assert {state.schema_version for state in states} == {version + 1}
    name = postgres_url.rpartition("3D")[2]
    assert postgres_server.sql(f"SELECT extra FROM {name}.images") == [(7,)]  # noqa: S608
    kinds = postgres_server.sql(
        "SELECT data_type FROM information_schema.columns "  # noqa: S608
        f"WHERE table_schema = '{name}' AND column_name = 'extra'"
    )
    assert kinds == [("bigint",)]


def test_two_libraries_are_in_two_schemas_of_one_database(
    opened: Open, postgres_server: PostgresServer, postgres_url: str, image: Image, space: Space
) -> None:
    one, two = opened(), opened(postgres_server.schema(f"{postgres_url.rpartition('3D')[2]}_b"))
    began, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(add, one, space, image(1), wait=lambda: (began.set(), go_on.wait(20)))
        assert began.wait(20)
        add(two, space, image(2), image(3))  # does not wait for the writer of the other one
        go_on.set()
        slow.result(20)
    assert (one.images.count({}), two.images.count({})) == (1, 2)


def test_text_of_any_length_and_with_any_character_is_kept(
    opened: Open, image: Image, sentence: Sentence, space: Space
) -> None:
    catalog = opened()
    texts = ["a\x00b", "a\x10b", "\x100", "\x10p", "x" * 60_000, "".join(chr(0x4E00 + n) for n in range(20_000))]
    drafts = sentence_drafts([sentence(n, text=one) for n, one in enumerate(texts)], space.dimension)
    catalog.sentences.add(drafts, space, lambda names: None)
    again = catalog.sentences.add(drafts, space, lambda names: None)
    assert [one.created for one in again] == [False] * len(texts)
    assert [one.record.text for one in again] == texts
    values = {"nul": "a\x00b", "long": "".join(chr(0x4E00 + n) for n in range(4_000)), "n" * 3_000: "x", "\x10": "\x10"}
    add(catalog, space, image(1, metadata=values, filename="a\x00b.png"))
    for name, value in values.items():
        assert catalog.images.count({name: value}) == 1
        assert catalog.images.count({name: f"{value}!"}) == 0
    ((_, record),) = catalog.images.page(None, 9, {})
    assert (record.metadata, record.filename) == (values, "a\x00b.png")
    assert catalog.problems() == []
    catalog.images.delete([record.id])
    assert catalog.problems() == []


def test_replicas_share_captions_and_deletions_out(opened: Open, image: Image, space: Space) -> None:
    replicas = [opened() for _ in range(3)]
    drafts = image_drafts([image(n, captions=2) for n in range(60)], space.dimension)
    ids = [one.record.id for one in replicas[0].images.add(drafts, space, lambda names: None)]
    barrier = threading.Barrier(6)

    def claim(n: int) -> list[str]:
        barrier.wait(20)
        found: list[str] = []
        while batch := replicas[n % 3].captions.claim(4, 60):
            found += [one.image_id for one in batch]
        return found

    with ThreadPoolExecutor(6) as pool:
        claimed = [id for batch in pool.map(claim, range(6)) for id in batch]
    assert sorted(claimed) == sorted(ids), "each once"

    due = datetime(2026, 1, 1, tzinfo=UTC)
    for id in ids:
        replicas[0].pending.schedule(id, due)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: replicas[n % 3].pending.carry_out(ids[n // 3], due), range(180)))
    assert sum(record is not None for record in done) == 60
    assert replicas[1].images.count({}) == 0


def test_readers_cannot_write(opened: Open) -> None:
    from sqlalchemy.exc import InternalError

    catalog = opened()
    with pytest.raises((InternalError, index.StorageFailed), match="read-only"), catalog._database.read() as connection:
        connection.execute(text("DELETE FROM images"))


def test_it_refuses_after_it_was_closed(opened: Open) -> None:
    catalog = opened()
    catalog.close()
    catalog.close()
    with pytest.raises(index.LibraryClosed):
        catalog.state()
    with pytest.raises(index.LibraryClosed):
        catalog.captions.retry()


def test_connections_of_readers_are_closed_when_they_come_back_after_the_end(opened: Open) -> None:
    import psycopg  # an extra

    catalog = opened()
    connection = catalog._database.connect()
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    catalog.close()
    assert not raw.closed  # its reader still uses it
    connection.close()
    assert raw.closed


def test_a_connection_that_cannot_be_set_up_is_closed(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg  # an extra

    made: list[psycopg.Connection[object]] = []

    def cut_off(self: psycopg.Connection[object], *_: object) -> None:
        made.append(self)
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(psycopg.Connection, "execute", cut_off)
    with pytest.raises(index.LibraryError, match="closed the connection"):
        opened()
    assert made
    assert all(one.closed for one in made)
