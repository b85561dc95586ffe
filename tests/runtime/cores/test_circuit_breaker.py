"""The circuit to a Core and the budget of retries: when they open, when they close, and that they never let too much through."""

from __future__ import annotations

import pytest
from gatehouse.cores.circuit_breaker import RETRY_BUDGET_MAX, CircuitBreaker, CircuitState, RetryBudget
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.requirement("CG-11")


def opened(at: float = 100.0) -> CircuitBreaker:
    """Open since `at`, after three failures; it rests for five seconds."""
    circuit = CircuitBreaker(3, 5.0)
    for _ in range(3):
        circuit.failed(at, trial=circuit.begin(at))
    return circuit


def test_it_opens_with_the_last_of_so_many_failures_in_a_row() -> None:
    circuit = CircuitBreaker(3, 5.0)
    assert [circuit.failed(100.0, trial=circuit.begin(100.0)) for _ in range(3)] == [False, False, True]
    assert (circuit.state(100.0), circuit.wait_s(100.0), circuit.wait_s(103.0)) == (CircuitState.OPEN, 5.0, 2.0)


def test_an_answer_between_failures_begins_the_count_anew() -> None:
    circuit = CircuitBreaker(3, 5.0)
    for outcome in "ffaffaff":
        trial = circuit.begin(100.0)
        if outcome == "a":
            assert not circuit.succeeded()
        else:
            assert not circuit.failed(100.0, trial=trial)
    assert circuit.state(100.0) is CircuitState.CLOSED


def test_after_its_rest_one_request_goes_and_the_others_wait() -> None:
    circuit = opened()
    assert (circuit.state(105.0), circuit.wait_s(105.0)) == (CircuitState.HALF_OPEN, 0.0)
    assert circuit.begin(105.0)
    assert circuit.wait_s(105.5) == 4.5


def test_an_answer_to_the_trial_closes_it() -> None:
    circuit = opened()
    circuit.begin(105.0)
    assert circuit.succeeded()
    assert (circuit.state(105.0), circuit.begin(105.0)) == (CircuitState.CLOSED, False)


def test_a_failed_trial_opens_it_for_another_rest() -> None:
    circuit = opened()
    circuit.failed(107.0, trial=circuit.begin(105.0))
    assert circuit.wait_s(107.0) == 5.0


def test_a_trial_whose_client_leaves_is_followed_by_another() -> None:
    circuit = opened()
    circuit.abandoned(105.5, trial=circuit.begin(105.0))
    assert circuit.wait_s(105.5) == 0.0
    assert circuit.begin(105.5)


def test_a_trial_that_takes_longer_than_a_rest_is_followed_by_another() -> None:
    circuit = opened()
    circuit.begin(105.0)
    assert (circuit.wait_s(109.0), circuit.wait_s(110.0)) == (1.0, 0.0)


def test_requests_that_began_before_it_opened_do_not_prolong_its_rest() -> None:
    circuit = opened()
    circuit.failed(104.0, trial=False)
    circuit.abandoned(104.0, trial=False)
    assert circuit.wait_s(104.0) == 1.0


def test_zero_failures_mean_that_it_never_opens() -> None:
    circuit = CircuitBreaker(0, 5.0)
    assert not any(circuit.failed(100.0, trial=circuit.begin(100.0)) for _ in range(1000))


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("fag")), max_size=200))
def test_however_it_goes_an_open_circuit_lets_one_request_a_rest_through(events: list[tuple[float, str]]) -> None:
    """Failures (f), answers (a) and clients that leave (g), each at its own time; requests that must wait are not sent."""
    circuit, now, since_answer = CircuitBreaker(3, 1.0), 0.0, 0
    last_failure = 0.0
    for seconds, outcome in events:
        now += seconds
        if circuit.wait_s(now) > 0:
            assert since_answer >= 3
            assert now - last_failure < 1.0
            continue
        trial = circuit.begin(now)
        assert trial == (since_answer >= 3)
        if outcome == "f":
            circuit.failed(now, trial=trial)
            since_answer, last_failure = since_answer + 1, now
        elif outcome == "a":
            circuit.succeeded()
            since_answer = 0
        else:
            circuit.abandoned(now, trial=trial)


def test_a_quiet_core_has_retries_at_hand() -> None:
    budget = RetryBudget(0.1)
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]


def test_a_budget_of_nothing_gives_nothing() -> None:
    budget = RetryBudget(0.0)
    budget.earn()
    assert not budget.take()


@given(st.floats(0.01, 1), st.lists(st.booleans(), max_size=300))
def test_retries_are_never_more_than_the_share_and_what_was_kept(share: float, requests: list[bool]) -> None:
    """Each request may want a retry or not."""
    budget, taken = RetryBudget(share), 0
    for wanted in requests:
        budget.earn()
        taken += wanted and budget.take()
    assert taken <= RETRY_BUDGET_MAX + share * len(requests) + 1e-6
