from __future__ import annotations

import time

import pytest

from index.breaker import CircuitBreaker
from index.errors import EngineAway


def fail(breaker: CircuitBreaker) -> bool:
    """Make a call that fails; tell whether it was let through."""
    reached = False
    with pytest.raises(EngineAway), breaker.call():  # noqa: PT012  # the call is what is looked at
        reached = True
        raise EngineAway("vectors", "no answer")
    return reached


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def test_calls_are_refused_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker("vectors", failures=3, pause=60)
    assert [fail(breaker) for _ in range(5)] == [True, True, True, False, False]
    with pytest.raises(EngineAway, match="no answer"):
        succeed(breaker)


def test_a_success_between_counts_from_the_start() -> None:
    breaker = CircuitBreaker("vectors", failures=2, pause=60)
    for _ in range(5):
        assert fail(breaker)
        succeed(breaker)


def test_another_error_is_an_answer() -> None:
    breaker = CircuitBreaker("vectors", failures=1, pause=60)
    for _ in range(3):
        with pytest.raises(KeyError), breaker.call():
            raise KeyError


def test_after_the_pause_one_call_tries_for_all() -> None:
    breaker = CircuitBreaker("vectors", failures=1, pause=0.2)
    assert fail(breaker)
    assert not fail(breaker)
    time.sleep(0.25)
    with breaker.call():
        assert not fail(breaker), "a second call went through while the first was trying"
    succeed(breaker)
    assert fail(breaker)
    time.sleep(0.25)
    assert fail(breaker)
    assert not fail(breaker), "there is no second pause"


def test_it_counts() -> None:
    breaker = CircuitBreaker("vectors", failures=2, pause=60)
    assert not breaker.state().away
    fail(breaker)
    succeed(breaker)
    fail(breaker)
    breaker.retried()
    assert not breaker.state().away
    fail(breaker)
    fail(breaker)  # not let through
    state = breaker.state()
    assert (state.part, state.away, state.failures, state.retries) == ("vectors", True, 3, 1)
