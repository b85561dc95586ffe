"""Credits are changed while requests consume them."""

import asyncio
import time
import uuid
from typing import Any

import pytest
from gatehouse.core.keys import CREDITS_MAX
from gatehouse.core.verification import CreditState
from gatehouse.features.verification.repository import CreditRepository

from tests.runtime.console_client import Console

MONTHLY = {"amount": 1000, "every": "month"}
HOURLY = {"amount": 5, "every": "hour"}
#: Change, and the result for 970 remaining of 1000 credits with the refill MONTHLY.
CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"refill": {"amount": 2000, "every": "month"}},
        {"refill": {"amount": 2000, "every": "month"}},
    ),
    ({"refill": HOURLY}, {"refill": HOURLY}),
    ({"refill": None}, {"refill": None}),
    ({"add": 500}, {"remaining": 1470}),
    ({"add": -500, "refill": None}, {"remaining": 470, "refill": None}),
    ({"add": -5000}, {"remaining": 0}),
    ({"add": CREDITS_MAX}, {"remaining": CREDITS_MAX}),
    ({"remaining": 1000}, {"remaining": 1000}),
    ({"remaining": 3, "refill": HOURLY}, {"remaining": 3, "refill": HOURLY}),
]


async def spent(
    store: CreditRepository, key_id: str, cost: int, charge_id: str = ""
) -> CreditState:
    states = await store.spend([key_id], cost, charge_id)
    assert states is not None
    return states[key_id]


async def change(console: Console, key_id: str, credits: object) -> Any:
    headers = {"If-Match": "*"}
    return await console.patch(f"/v1/keys/{key_id}", json={"credits": credits}, headers=headers)


@pytest.mark.parametrize(("body", "expected"), CHANGES)
async def test_change_keeps_what_it_does_not_name(
    console: Console, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    key_id = await console.create_id(credits={"remaining": 1000, "refill": MONTHLY})
    assert (await spent(CreditRepository(console.pool), key_id, 30)).remaining == 970
    reply = await change(console, key_id, body)
    credits = {"remaining": 970, "refill": MONTHLY, **expected}
    assert (reply.status_code, reply.json()["key"]["credits"]) == (200, credits)
    # The new refill is not applied before the next period.
    balance = await spent(CreditRepository(console.pool), key_id, 0)
    assert balance.remaining == credits["remaining"]


async def test_concurrent_uses_and_additions_are_all_counted(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 100})
    store = CreditRepository(console.pool)
    await asyncio.gather(
        *(spent(store, key_id, 3) for _ in range(10)),
        *(change(console, key_id, {"add": number}) for number in (7, 70, -20)),
        change(console, key_id, {"refill": MONTHLY}),
    )
    credits = (await console.get(f"/v1/keys/{key_id}")).json()["credits"]
    assert credits == {"remaining": 100 - 30 + 57, "refill": MONTHLY}


async def test_repeated_request_is_charged_and_refunded_once(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 8})
    console.sql("UPDATE key_credit SET refilled_at = now() - interval '1 hour'")
    store, charges = CreditRepository(console.pool), [str(uuid.uuid4()) for _ in range(3)]
    results = await asyncio.gather(*(spent(store, key_id, 3, each) for each in charges * 3))
    assert [each.exceeded for each in results].count(False) == 6
    assert await spent(store, key_id, 0) == CreditState(2, exceeded=False, refills_at=None)
    (accepted, *_) = [
        each for each in charges if not (await spent(store, key_id, 3, each)).exceeded
    ]
    began = time.perf_counter()
    await store.refund([key_id], 3, began, accepted)
    assert await spent(store, key_id, 0) == CreditState(5, exceeded=False, refills_at=None)
    assert await spent(store, key_id, 3, accepted) == CreditState(
        2, exceeded=False, refills_at=None
    )  # again
    console.sql("UPDATE credit_charge SET charged_at = now() - interval '1 hour'")
    await store.forget_charges()
    assert console.sql("SELECT count(*) FROM credit_charge") == "0"


async def test_refill_that_is_due_comes_before_an_addition(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 4, "refill": MONTHLY})
    console.sql("UPDATE key_credit SET refilled_at = now() - interval '40 days'")
    assert (await change(console, key_id, {"add": 50})).json()["key"]["credits"][
        "remaining"
    ] == 1050
    assert (await spent(CreditRepository(console.pool), key_id, 1)).remaining == 1049


async def test_refund_of_a_request_in_progress_survives_a_change(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 10, "refill": MONTHLY})
    console.sql("UPDATE key_credit SET refilled_at = now() - interval '1 second'")
    store, began = CreditRepository(console.pool), asyncio.get_running_loop().time()
    await spent(store, key_id, 4)
    await change(console, key_id, {"add": 1})
    await change(console, key_id, {"refill": {**MONTHLY, "amount": 5}})
    await store.refund([key_id], 4, began)
    assert (await console.get(f"/v1/keys/{key_id}")).json()["credits"]["remaining"] == 11


async def test_credits_that_were_set_since_the_charge_get_no_refund(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 10})
    # The clock of the database runs on until the refund arrives there: the charge is older.
    store, began = CreditRepository(console.pool), time.perf_counter() - 60
    await spent(store, key_id, 4)
    await change(console, key_id, {"remaining": 10})
    await store.refund([key_id], 4, began)
    assert (await console.get(f"/v1/keys/{key_id}")).json()["credits"]["remaining"] == 10


@pytest.mark.parametrize("body", [{"add": 1}, {"refill": MONTHLY}])
async def test_credits_of_a_key_without_credits_are_not_changed(
    console: Console, body: dict[str, Any]
) -> None:
    key_id = await console.create_id()
    reply = await change(console, key_id, body)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "body.credits")
    credits = {"remaining": 5, "refill": None}
    assert (await change(console, key_id, {"remaining": 5})).json()["key"]["credits"] == credits


@pytest.mark.parametrize("body", [{}, {"add": 0}, {"add": 1, "remaining": 1}, {"add": None}])
async def test_change_without_or_with_two_meanings_is_rejected(
    console: Console, body: dict[str, Any]
) -> None:
    key_id = await console.create_id(credits={"remaining": 5})
    assert (await change(console, key_id, body)).status_code == 400


async def test_audit_trail_names_the_change(console: Console) -> None:
    key_id = await console.create_id(credits={"remaining": 5})
    await change(console, key_id, {"add": -2, "refill": MONTHLY})
    [event] = await console.events(target_id=key_id, action="key.update")
    assert event["details"]["credits"] == "-2, refill 1000 every month"
