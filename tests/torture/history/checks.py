"""What no correct service could have answered: writes that were lost, records that came back, answers without a code.

An operation takes effect at one moment between its request and its answer, or later if no answer came. So something is
wrong only if no order of such moments explains what was read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.problems import PROBLEMS
from tests.torture.history.operations import READS, Fault, Operation

RECOVERY = 10.0
"""Seconds after which reads have to work again."""
_UNAVAILABLE = frozenset({503, 507})
_ENDS = frozenset({"delete", "unsay"})


def check(operations: Sequence[Operation], *, broken: Sequence[tuple[float, float]] = ()) -> list[str]:
    """Return everything that is wrong. Between the times in `broken`, connections may break."""
    findings = [*_answers(operations, broken), *_lives(operations), *_files(operations)]
    return list(dict.fromkeys([*findings, *_metadata(operations), *_captions(operations)]))


def _answers(operations: Sequence[Operation], broken: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Errors have to be problem documents with a known code, and to say that the service cannot just now."""
    for one in operations:
        if one.wrong:
            yield f"improper answer ({one.wrong}): {one}"
        elif one.status == 0:
            if not any(one.invoked <= end and start <= one.completed for start, end in broken):
                yield f"no answer: {one}"
        elif not one.done and one.code not in PROBLEMS:
            yield f"unknown code: {one}"
        elif not (one.done or one.absent or one.status in _UNAVAILABLE):
            yield f"unexpected answer: {one}"


# Records


class _Seen(NamedTuple):
    id: str
    there: bool
    by: Operation


@dataclass
class _Life:
    """When a record was acknowledged, and when it may have ended, and certainly had."""

    born: float = math.inf
    may_end: list[float] = field(default_factory=list)
    ended: float = math.inf
    due: list[Operation] = field(default_factory=list)  # deletions that were scheduled, and not undone


def _lives(operations: Sequence[Operation]) -> Iterator[str]:
    """What was acknowledged is there until somebody deletes it, and never again after that."""
    lives: defaultdict[str, _Life] = defaultdict(_Life)
    for one in operations:
        if one.kind in ("add", "say") and one.done:
            life = lives[one.value]
            life.born = min(life.born, one.completed)
    for one in operations:
        life = lives[one.subject]
        if one.kind in _ENDS and (one.done or one.uncertain):
            life.may_end.append(one.invoked)
        if (one.kind in _ENDS and one.done) or (one.absent and one.kind != "restore"):
            life.ended = min(life.ended, one.completed)
        if one.kind == "schedule" and (one.done or one.uncertain):
            life.due.append(one)
        if one.kind == "restore" and one.done:
            life.due = [due for due in life.due if due.uncertain]
    for life in lives.values():
        life.may_end += [one.invoked for one in life.due]
    for seen in _sightings(operations):
        life = lives[seen.id]
        if seen.there and life.ended < seen.by.invoked:
            yield f"came back: {seen.id} was deleted at {life.ended:.2f}; {seen.by}"
        lost = not seen.there and life.born < seen.by.invoked
        if lost and not any(invoked < seen.by.completed for invoked in life.may_end):
            yield f"lost: {seen.id} was acknowledged at {life.born:.2f}; {seen.by}"


def _sightings(operations: Sequence[Operation]) -> Iterator[_Seen]:
    """Every answer that tells whether a record is there."""
    for one in operations:
        if one.absent:
            yield _Seen(one.subject, False, one)
        elif one.done:
            if one.kind in ("add", "say"):
                yield _Seen(one.value, True, one)
            elif one.kind in ("list", "find"):
                yield from (_Seen(id, True, one) for id in one.value)
                if one.kind == "find" and one.subject not in one.value:
                    yield _Seen(one.subject, False, one)
            else:
                yield _Seen(one.subject, True, one)


def _files(operations: Sequence[Operation]) -> Iterator[str]:
    """The file of an image is the one that was added."""
    added = {one.value: one.subject for one in operations if one.kind == "add" and one.done}
    for one in operations:
        if one.kind == "content" and one.done and one.value != added.get(one.subject, one.value):
            yield f"another file: {one.value}; {one}"


def overdue(operations: Sequence[Operation], last: Sequence[Operation]) -> list[str]:
    """Return the deletions that were scheduled, not undone, and not carried out either when the `last` reads came."""
    waiting: dict[str, Operation] = {}
    for one in operations:
        if one.kind == "schedule" and one.done:
            waiting[one.subject] = one
        elif one.kind == "restore" and not one.absent:
            waiting.pop(one.subject, None)
    there = {one.subject for one in last if one.done}
    return [f"not carried out: {one}" for id, one in waiting.items() if id in there]


# Metadata and captions


def _metadata(operations: Sequence[Operation]) -> Iterator[str]:
    """A patch that was acknowledged is in whatever is read later. No key is set twice."""
    patches: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.kind == "patch":
            patches[one.subject].append(one)
    for read in operations:
        if not read.done or read.kind not in ("get", "patch"):
            continue
        metadata = read.value if read.kind == "get" else read.value[2]
        for patch in patches[read.subject]:
            key, value, _ = patch.value
            if patch is not read and not (patch.done and patch.completed < read.invoked):
                continue
            removed = any(
                other.value[:2] == [key, None] and other.invoked < read.completed for other in patches[read.subject]
            )
            if value is not None and not removed and metadata.get(key) != value:
                yield f"patch lost: {key} by {patch}; {read}"
            if value is None and key in metadata:
                yield f"patch came back: {key} removed by {patch}; {read}"


def _captions(operations: Sequence[Operation]) -> Iterator[str]:
    """The captions of an image are those that were set last. One client sets them, one request after the other."""
    writes: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.kind == "set captions" and (one.done or one.uncertain):
            writes[one.subject].append(one)
    for read in operations:
        if read.kind == "captions" and read.done:
            before = [one for one in writes[read.subject] if one.invoked < read.completed]
            last = max((one.invoked for one in before if one.done and one.completed < read.invoked), default=-math.inf)
            possible = [one.value for one in before if one.invoked >= last or one.uncertain]
            if last == -math.inf:
                possible.append([])
            if read.value not in possible:
                yield f"captions lost: {read.value} instead of one of {possible}; {read}"


# Recovery


@dataclass(frozen=True)
class Recovery:
    """How reads went around a fault: how many failed, and how long after they had to work the last one was asked."""

    fault: Fault
    failed_reads: int
    failed_writes: int
    codes: dict[str, int]
    seconds: float
    """Until reads worked; 0 where none failed when it should not."""
    seconds_to_write: float
    """From the end of the fault until writes worked."""


def recoveries(operations: Sequence[Operation], faults: Sequence[Fault]) -> list[Recovery]:
    """Return how the service recovered from each fault."""
    found = []
    for number, fault in enumerate(faults):
        until = faults[number + 1].start if number + 1 < len(faults) else math.inf
        failed = [one for one in operations if fault.start <= one.completed < until and _failed(one)]
        reads = [one for one in failed if one.kind in READS]
        writes = [one for one in failed if one.kind not in READS]
        codes: defaultdict[str, int] = defaultdict(int)
        for one in failed:
            codes[f"{one.code} ({one.engine})" if one.engine else one.code or "no answer"] += 1
        last_read = max((one.invoked for one in reads), default=-math.inf)
        last_write = max((one.invoked for one in writes), default=-math.inf)
        found.append(
            Recovery(
                fault,
                len(reads),
                len(writes),
                dict(codes),
                max(0.0, last_read - fault.reads_from),
                max(0.0, last_write - fault.end),
            )
        )
    return found


def _failed(one: Operation) -> bool:
    """Whether an operation found the service away, or waited too long for it."""
    return one.status == 0 or one.status >= 500 or (one.kind in READS and one.completed - one.invoked > RECOVERY)
