"""Circuit breaker and retry budget."""

from collections.abc import Callable

import pytest
from gatehouse.features.cores.circuit_breaker import (
    RETRY_BUDGET_MAX,
    CircuitBreaker,
    CircuitState,
    RetryBudget,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.requirement("CG-11")


def opened(at: float = 100.0) -> CircuitBreaker:
    """Opened at `at` by three failures, with a reset time of five seconds."""
    circuit = CircuitBreaker(3, 5.0)
    for _ in range(3):
        circuit.failed(at, trial=circuit.begin(at))
    return circuit


def test_consecutive_failures_open_circuit() -> None:
    circuit = CircuitBreaker(3, 5.0)
    assert [circuit.failed(100.0, trial=circuit.begin(100.0)) for _ in range(3)] == [
        None,
        None,
        CircuitState.OPEN,
    ]
    assert (circuit.state(100.0), circuit.wait_s(100.0), circuit.wait_s(103.0)) == (
        CircuitState.OPEN,
        5.0,
        2.0,
    )


def test_failures_of_one_client_never_open_circuit() -> None:
    circuit = CircuitBreaker(3, 5.0)
    assert not any(circuit.failed(100.0, trial=False, client="a") for _ in range(100))
    assert circuit.failed(100.0, trial=False, client="b") is CircuitState.OPEN
    circuit.succeeded()
    assert not any(circuit.failed(106.0, trial=False, client="b") for _ in range(100))
    assert circuit.failed(106.0, trial=False) is CircuitState.OPEN


def test_failed_trial_of_one_client_is_confirmed_by_another() -> None:
    circuit = opened()
    assert circuit.failed(105.0, trial=circuit.begin(105.0), client="a") is CircuitState.CLOSED
    assert not any(circuit.failed(106.0, trial=False, client="a") for _ in range(100))
    assert circuit.failed(106.0, trial=False, client="b") is CircuitState.OPEN


def test_response_resets_failure_count() -> None:
    circuit = CircuitBreaker(3, 5.0)
    for outcome in "ffaffaff":
        trial = circuit.begin(100.0)
        if outcome == "a":
            assert not circuit.succeeded()
        else:
            assert not circuit.failed(100.0, trial=trial)
    assert circuit.state(100.0) is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("outcome", "wait_s"),
    [
        (lambda circuit, trial: circuit.succeeded(), 0.0),
        (lambda circuit, trial: circuit.failed(107.0, trial=trial), 5.0),
        (lambda circuit, trial: circuit.abandoned(107.0, trial=trial), 0.0),
        (lambda circuit, trial: None, 3.0),  # no outcome yet: another trial is allowed at 110.0
    ],
    ids=["succeeded", "failed", "abandoned", "pending"],
)
def test_trial_decides_the_next_state(
    outcome: Callable[[CircuitBreaker, bool], object], wait_s: float
) -> None:
    circuit = opened()
    outcome(circuit, circuit.begin(105.0))
    assert circuit.wait_s(107.0) == wait_s
    assert circuit.wait_s(112.0) == 0.0
    assert circuit.begin(112.0) == (circuit.state(112.0) is not CircuitState.CLOSED)


def test_earlier_requests_do_not_extend_open_state() -> None:
    circuit = opened()
    circuit.failed(104.0, trial=False)
    circuit.abandoned(104.0, trial=False)
    assert circuit.wait_s(104.0) == 1.0


def test_zero_failures_max_never_opens() -> None:
    circuit = CircuitBreaker(0, 5.0)
    assert not any(circuit.failed(100.0, trial=circuit.begin(100.0)) for _ in range(1000))


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("fag")), max_size=200))
def test_open_circuit_allows_one_request_per_reset_time(events: list[tuple[float, str]]) -> None:
    """Failures (f), responses (a) and abandoned requests (g) at random times."""
    circuit, now, failures = CircuitBreaker(3, 1.0), 0.0, 0
    last_failure = 0.0
    for seconds, outcome in events:
        now += seconds
        if circuit.wait_s(now) > 0:
            assert failures >= 3
            assert now - last_failure < 1.0
            continue
        trial = circuit.begin(now)
        assert trial == (failures >= 3)
        if outcome == "f":
            circuit.failed(now, trial=trial)
            failures, last_failure = failures + 1, now
        elif outcome == "a":
            circuit.succeeded()
            failures = 0
        else:
            circuit.abandoned(now, trial=trial)


def test_initial_budget_allows_retries() -> None:
    budget = RetryBudget(0.1)
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]


def test_zero_budget_allows_no_retry() -> None:
    budget = RetryBudget(0.0)
    budget.earn()
    assert not budget.take()


@pytest.mark.bound("cores.circuit_breaker:RETRY_BUDGET_MAX")
@given(st.floats(0.01, 1), st.lists(st.booleans(), max_size=300))
def test_retries_never_exceed_budget(share: float, requests: list[bool]) -> None:
    """`requests`: for each request, True if the request is retried."""
    budget, taken = RetryBudget(share), 0
    for retried in requests:
        budget.earn()
        taken += retried and budget.take()
    assert taken <= RETRY_BUDGET_MAX + share * len(requests) + 1e-6
