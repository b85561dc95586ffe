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


def opened() -> CircuitBreaker:
    circuit = CircuitBreaker(3, 5.0)
    assert [circuit.not_connected(100.0) for _ in range(3)] == [False, False, True]
    return circuit


def test_failed_responses_open_circuit_but_deny_no_request() -> None:
    circuit = CircuitBreaker(3, 5.0)
    for failed in (True, True, False, True, True):
        circuit.responded(100.0, failed=failed)
        assert circuit.state(100.0) is CircuitState.CLOSED
    circuit.responded(100.0, failed=True)
    assert (circuit.state(104.0), circuit.wait_s(104.0)) == (CircuitState.OPEN, 0.0)
    assert circuit.state(105.0) is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("outcome", "wait_s"),
    [
        (lambda circuit: circuit.connected(), 0.0),
        (lambda circuit: circuit.not_connected(107.0), 5.0),
        (lambda circuit: circuit.abandoned(107.0), 0.0),
        (lambda circuit: None, 3.0),  # no outcome yet: another trial is allowed at 110.0
    ],
    ids=["connected", "not connected", "abandoned", "pending"],
)
def test_trial_decides_the_next_state(
    outcome: Callable[[CircuitBreaker], bool | None], wait_s: float
) -> None:
    circuit = opened()
    circuit.begin(105.0)
    is_closed = outcome(circuit) is True
    assert circuit.wait_s(107.0) == wait_s
    assert circuit.wait_s(112.0) == 0.0
    assert (circuit.state(112.0) is CircuitState.CLOSED) == is_closed


def test_zero_failures_max_never_opens() -> None:
    circuit = CircuitBreaker(0, 5.0)
    for _ in range(1000):
        circuit.begin(100.0)
        circuit.responded(100.0, failed=True)
        assert not circuit.not_connected(100.0)
    assert circuit.state(100.0) is CircuitState.CLOSED


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("fcag")), max_size=200))
def test_open_circuit_allows_one_request_per_reset_time(events: list[tuple[float, str]]) -> None:
    """Failures to connect (f), connections (c), abandoned (a) and failed (g) requests at random
    times.
    """
    circuit, now, failures = CircuitBreaker(3, 1.0), 0.0, 0
    last_failure = 0.0
    for seconds, outcome in events:
        now += seconds
        if circuit.wait_s(now) > 0:
            assert failures >= 3
            assert now - last_failure < 1.0
            continue
        circuit.begin(now)
        if outcome == "f":
            assert circuit.not_connected(now) == (failures == 2)
            failures, last_failure = failures + 1, now
        elif outcome == "a":
            circuit.abandoned(now)
        else:
            assert circuit.connected() == (failures >= 3)
            circuit.responded(now, failed=outcome == "g")
            failures = 0


@pytest.mark.bound("cores.circuit_breaker:RETRY_BUDGET_MAX")
@given(st.floats(0.01, 1), st.lists(st.booleans(), max_size=300))
def test_retries_never_exceed_budget(share: float, requests: list[bool]) -> None:
    budget, taken = RetryBudget(share), 0
    for retried in requests:
        budget.earn()
        taken += retried and budget.take()
    assert taken <= RETRY_BUDGET_MAX + share * len(requests) + 1e-6
