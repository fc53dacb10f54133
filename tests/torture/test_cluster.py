"""Three replicas behind nginx on PostgreSQL, Milvus and S3, while everything fails that can.

    TORTURE_CLUSTER=300 pytest tests/torture/test_cluster.py -s     (or: make torture-cluster)

It takes as many seconds, and some for the beginning and the end. Needs root, for network namespaces.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from model.space import JointSpace
from tests.app.helpers import form, picture
from tests.servers import postgres
from tests.servers.milvus import milvus_python
from tests.torture import cluster
from tests.torture.cluster import KEY, Cluster
from tests.torture.history.caller import Caller
from tests.torture.history.checks import RECOVERY, Recovery, check, overdue, recoveries
from tests.torture.history.clients import Client, Shared, last_look
from tests.torture.history.operations import READS, History, Operation

SECONDS = int(os.environ.get("TORTURE_CLUSTER", "0"))
CLIENTS = 8
READERS = 2
"""More clients, which read all the time, and never wait for a write."""
STOCKED = 2300
"""Images that are there before: more than are kept in memory before they are written to Milvus."""
PATCHED = 80
"""Images whose metadata all clients change."""
UNDO = 2
OWED = 240
"""Seconds in which captions have to be written that are owed, also those that a killed replica had begun."""


@pytest.mark.skipif(not SECONDS, reason="the cluster runs for minutes: TORTURE_CLUSTER=300 pytest …")
def test_no_fault_of_a_cluster_loses_anything(space: JointSpace, tmp_path: Path) -> None:
    python = milvus_python()
    reason = cluster.absent() or postgres.absent()
    if reason is None and (python is None or importlib.util.find_spec("pymilvus") is None):
        reason = "there is no Milvus (`make milvus`)"
    if reason is not None:
        pytest.fail(f"The cluster cannot run here: {reason}.")
    assert python is not None
    history = History(tmp_path / "history.jsonl")
    with cluster.cluster(tmp_path, python, space.bundle.path, VISEM_UNDO_SECONDS=str(UNDO)) as running:
        clients, looks = _work(running, history)
        findings = check(history.operations)
        operations = [one for one in history.operations if one.client != "last"]
        findings += overdue(operations, looks)
        findings += [f"no answer in the end: {one}" for one in looks if not (one.done or one.absent)]
        findings += _not_captioned(running, clients)
        for replica in running.replicas:
            replica.stop()
        findings += _examined(running)
    history.close()
    recovered = recoveries(operations, history.faults)
    for one in recovered:
        if one.seconds > RECOVERY:
            findings.append(f"reads after {one.fault.name} failed for {one.seconds:.1f} s")
    report = _report(operations, recovered, findings)
    (tmp_path / "report.md").write_text(report)
    sys.stdout.write(f"\n{report}\nHistory and logs: {tmp_path}\n")
    assert findings == []


def _work(running: Cluster, history: History) -> tuple[list[Client], list[Operation]]:
    """Let the clients work while one fault comes after the other; return them, and what was read in the end."""
    stocked = _stock(running)
    main = Caller("main", [running.address], history, KEY)
    shared = Shared([main.add(picture(seed)).value for seed in range(101, 101 + PATCHED)])
    clients = []
    for number in range(CLIENTS + READERS):
        caller = Caller(f"client {number}", [running.address], history, KEY)
        known, reads = dict(islice(stocked, 30)), number >= CLIENTS
        clients.append(Client(caller, number, shared, known=known, captions=not reads, reads=reads))
    for client in clients:
        client.start()
    _fail(running, history, SECONDS / 300)
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(200)
        assert not client.is_alive()
        assert client.failure is None, repr(client.failure)
    time.sleep(2 * UNDO + 2)
    operations = list(history.operations)
    looks = []
    for replica in running.replicas:
        looks += last_look(Caller("last", [replica.address], history, KEY), operations)
    return clients, looks


def _fail(running: Cluster, history: History, scale: float) -> None:
    """All faults, one after the other: 300 seconds in all at a `scale` of 1."""
    first, _, _ = running.replicas
    time.sleep(20 * scale)
    with history.fault("a replica is killed (-9) and started again", others_answer=True):
        first.kill()
        time.sleep(15 * scale)
        first.start()
        first.wait()
    time.sleep(20 * scale)
    with history.fault("PostgreSQL is ended at once and restarted", others_answer=False):
        running.postgres.stop(signal.SIGQUIT)
        time.sleep(3)
        running.postgres.start()
    time.sleep(35 * scale)
    with history.fault("Milvus is killed (-9) and comes back", others_answer=False):
        running.milvus.kill()
        time.sleep(20 * scale)
        running.milvus.start()
        _wait_until_loaded(running.milvus.port)
    time.sleep(40 * scale)
    with history.fault("S3 answers 503", others_answer=False):
        running.s3_flag.touch()
        time.sleep(20)
        running.s3_flag.unlink()
    time.sleep(30 * scale)
    with history.fault("a replica is cut off from the network", others_answer=True):
        running.cut(2)
        time.sleep(30 * scale)
        running.connect(2)
    time.sleep(40 * scale)


def _wait_until_loaded(port: int) -> None:
    """Wait until Milvus searches again: it listens before it has loaded its collections."""
    import grpc
    from pymilvus import MilvusClient, MilvusException

    deadline = time.monotonic() + 120
    while True:
        try:
            client = MilvusClient(f"http://127.0.0.1:{port}", timeout=5)
            for name in client.list_collections():
                client.query(name, filter="key > -1", output_fields=["count(*)"], timeout=5)
            client.close()
            return
        except (MilvusException, grpc.RpcError):
            assert time.monotonic() < deadline, "Milvus does not load its collections"
            time.sleep(0.2)


def _stock(running: Cluster) -> Iterator[tuple[str, int]]:
    """Fill the library; return an iterator over ids and seeds of what is there."""
    caller = Caller("stock", [running.address], History(), KEY)
    stocked: list[tuple[str, int]] = []
    for start in range(0, STOCKED, 100):
        seeds = range(500_000 + start, 500_000 + start + 100)
        answer = caller.ask("POST", "/v1/images", *form({}, [("files", picture(seed)) for seed in seeds]))
        assert answer.done, answer.body
        stocked += [(one["image"]["id"], seed) for one, seed in zip(answer.document["results"], seeds, strict=True)]
    return iter(stocked)


def _not_captioned(running: Cluster, clients: Sequence[Client]) -> list[str]:
    """Wait for owed captions; return the images that have got none."""
    caller = Caller("captions", [running.address], History(), KEY)
    owed = [image_id for client in clients for image_id in client.owed]
    deadline = time.monotonic() + OWED
    while owed and time.monotonic() < deadline:
        written = [caller.written(image_id) for image_id in owed]
        owed = [one.subject for one in written if not one.absent and not one.value]
        time.sleep(2)
    return [f"captions owed still: {image_id}" for image_id in owed]


def _examined(running: Cluster) -> list[str]:
    """What `visem info --check --deep` finds."""
    command = [Path(sys.executable).with_name("visem"), "info", "--check", "--deep", "--json"]
    environment = {**os.environ, **running.replicas[0].settings}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603
    problems = json.loads(done.stdout).get("problems", [done.stdout.decode()])
    # A file comes before its record, so one of an upload that failed may be left: `visem info --repair` removes it.
    return [
        f"visem info --check --deep: {problem}" for problem in problems if not problem.endswith("belongs to no image")
    ]


def _report(operations: Sequence[Operation], recovered: Sequence[Recovery], findings: Sequence[str]) -> str:
    """What happened, as a table for docs/cluster.md."""
    kinds = Counter(one.kind for one in operations if one.done)
    failed = [one for one in operations if one.uncertain]
    reads = [one for one in operations if one.kind in READS]
    away = sum(one.uncertain for one in reads)
    done = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    lines = [
        f"{len(operations):,} operations by {CLIENTS} clients and {READERS} that only read, in {SECONDS} s; "
        f"{len(failed):,} failed ({away:,} of {len(reads):,} reads). Done: {done}.",
        "",
        "| fault | lasted | failed reads, writes | codes | reads work again after | writes after |",
        "|---|---|---|---|---|---|",
    ]
    for one in recovered:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(one.codes.items())) or "none"
        lines.append(
            f"| {one.fault.name} | {one.fault.end - one.fault.start:.0f} s | {one.failed_reads}, {one.failed_writes} "
            f"| {codes} | {one.seconds:.1f} s | {one.seconds_to_write:.1f} s |"
        )
    lines += ["", *(f"- {finding}" for finding in findings[:50])] if findings else ["", "No finding."]
    return "\n".join(lines) + "\n"
