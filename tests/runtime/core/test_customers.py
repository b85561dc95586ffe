"""What keys inherit from customers and plans."""

import re
from typing import Any

import msgspec
import pytest
from gatehouse.core.customers import (
    DEFAULT_SCOPES,
    ID,
    SHARED_PREFIX,
    id_of,
    inheriting,
    resolve,
    stored,
)
from gatehouse.core.decision import evaluate
from gatehouse.core.keys import (
    CustomerRecord,
    CustomerState,
    KeyEnvironment,
    KeyRecord,
    KeyState,
    PlanRecord,
    RateLimit,
)
from gatehouse.core.verification import Code, VerificationRequest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.key_records import RECORD

LIMITS = [(RateLimit("requests", n, 60, n),) for n in (1, 2, 3)]
DEFAULT = RateLimit("default", 9, 60, 9)

plans = st.none() | st.builds(
    PlanRecord,
    name=st.just("plan"),
    limits=st.none() | st.sampled_from(LIMITS),
    shared_limits=st.sampled_from([(), *LIMITS]),
    scopes=st.none() | st.sampled_from([(), ("a:read",)]),
    version=st.just(1),
)
customers = st.none() | st.builds(
    CustomerRecord,
    id=st.just("acme"),
    name=st.just("Acme"),
    state=st.sampled_from(CustomerState),
    plan=st.just("plan"),
    limits=st.none() | st.sampled_from(LIMITS),
    has_credits=st.booleans(),
    version=st.just(1),
)
own = st.fixed_dictionaries(
    {},
    optional={
        "limits": st.none() | st.sampled_from(LIMITS),
        "scopes": st.none() | st.sampled_from([("b:read",), ("b:read", "c:read")]),
    },
)


def key_with(settings: dict[str, Any], customer: CustomerRecord | None) -> KeyRecord:
    id = None if customer is None else customer.id
    values = inheriting(settings, follows=id is not None, inherits=(), default=DEFAULT)
    return msgspec.structs.replace(RECORD, customer_id=id, **values)


@given(own, customers, plans)
def test_own_values_stay_and_others_are_those_of_the_plan(
    settings: dict[str, Any], customer: CustomerRecord | None, plan: PlanRecord | None
) -> None:
    key = key_with(settings, customer)
    resolved = resolve(stored(key), customer, plan if customer else None)
    for name in ("limits", "scopes"):
        value, inherited = settings.get(name), getattr(plan, name, None)
        if name not in settings:
            assert getattr(resolved, name) == getattr(RECORD, name)
        elif value is not None:
            assert getattr(resolved, name) == value
        elif customer is None:
            assert getattr(resolved, name) == ((DEFAULT,) if name == "limits" else DEFAULT_SCOPES)
        elif inherited is not None:
            assert getattr(resolved, name) == inherited
        else:
            assert getattr(resolved, name) == (() if name == "limits" else DEFAULT_SCOPES)


@given(own, customers, plans, plans)
def test_resolution_is_repeated_from_what_is_stored(
    settings: dict[str, Any],
    customer: CustomerRecord | None,
    before: PlanRecord | None,
    after: PlanRecord | None,
) -> None:
    """A change of the plan gives what a fresh read gives, and a write stores what was stored."""
    row = stored(key_with(settings, customer))
    resolved = resolve(row, customer, before)
    assert resolve(resolved, customer, after) == resolve(row, customer, after)
    columns = ("limits", "scopes", "inherits", "customer_id")
    written = stored(resolved)
    assert [getattr(written, name) for name in columns] == [getattr(row, name) for name in columns]


@given(customers, plans)
def test_shared_limits_are_those_of_the_customer_or_the_plan(
    customer: CustomerRecord | None, plan: PlanRecord | None
) -> None:
    shared = resolve(key_with({}, customer), customer, plan).shared_limits
    expected: tuple[RateLimit, ...] = ()
    if customer is not None:
        of_plan = plan.shared_limits if plan else ()
        expected = of_plan if customer.limits is None else customer.limits
    assert [limit.name for limit in shared] == [SHARED_PREFIX + each.name for each in expected]
    assert [limit.quota for limit in shared] == [each.quota for each in expected]


@pytest.mark.parametrize(
    ("state", "customer_state", "code"),
    [
        (KeyState.ACTIVE, CustomerState.ACTIVE, Code.VALID),
        (KeyState.ACTIVE, CustomerState.DISABLED, Code.DISABLED),
        (KeyState.ACTIVE, CustomerState.DELETED, Code.REVOKED),
        (KeyState.ACTIVE, None, Code.REVOKED),  # purged
        (KeyState.DISABLED, CustomerState.DELETED, Code.REVOKED),
        (KeyState.REVOKED, CustomerState.DISABLED, Code.REVOKED),
    ],
)
def test_state_of_key_and_customer(
    state: KeyState, customer_state: CustomerState | None, code: Code
) -> None:
    customer = None
    if customer_state is not None:
        customer = CustomerRecord("acme", "A", customer_state, None, None, False, 1)
    key = msgspec.structs.replace(RECORD, state=state, customer_id="acme", expires_at=None)
    record, environment = resolve(key, customer, None), KeyEnvironment.TEST
    request = VerificationRequest()
    assert evaluate(record, request, possession=True, environment=environment, now=1.0) is code


@given(st.text(min_size=1, max_size=100))
def test_every_name_has_an_id(name: str) -> None:
    assert re.fullmatch(ID, id_of(name)), id_of(name)
    assert id_of(name) == id_of(name)


@given(st.lists(st.text(min_size=1, max_size=60), max_size=20, unique=True))
def test_different_names_have_different_ids(names: list[str]) -> None:
    assert len({id_of(name) for name in names}) == len(names)
