"""Exports of keys, customers and plans are restored."""

from typing import Any

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.transfer.repository import TABLES, ExportRepository

from tests.runtime.console_client import Console

EVENT = Actor("system", "cli").event(AuditAction.REGISTRY_EXPORT, target_id="", at=1.0, details={})
REFILL = {"amount": 1000, "every": "month"}


async def exported(console: Console) -> list[bytes]:
    batches = [batch async for batch, _ in ExportRepository(console.pool).lines(EVENT)]
    return b"".join(batches).splitlines()


async def restored(console: Console, lines: list[bytes]) -> dict[str, tuple[int, int]]:
    return await ExportRepository(console.pool).restore(lines, EVENT)


async def add_customer(console: Console, customer_id: str) -> str:
    body = {"id": customer_id, "name": f"{customer_id} Ltd", "credits": {"remaining": 7}}
    assert (await console.post("/v1/customers", json=body)).status_code == 201
    return await console.create_id(customer_id=customer_id)


async def test_lost_rows_are_restored(console: Console) -> None:
    await console.post("/v1/plans", json={"name": "gold", "credits": REFILL, "scopes": ["a"]})
    await console.post("/v1/customers", json={"id": "follows", "plan": "gold"})
    await console.create(customer_id="follows")
    await console.create(plan="gold", limits=[{"name": "own", "quota": 1, "window_s": 60}])
    await add_customer(console, "own")
    await console.post("/v1/limits", json={"name": "sign-in", "quota": 5, "window_s": 900})

    def rows() -> dict[str, Any]:
        select = "SELECT jsonb_agg(to_jsonb(t) - 'change_seq' ORDER BY to_jsonb(t)) FROM {} AS t"
        return {table: console.sql(select.format(table)) for table in TABLES}

    before, lines = rows(), await exported(console)
    assert all(before.values())
    console.sql(f"TRUNCATE {', '.join(TABLES)} CASCADE")
    counts = await restored(console, lines)
    assert rows() == before
    assert {table: skipped for table, (_, skipped) in counts.items()} == dict.fromkeys(TABLES, 0)


async def test_purged_customer_is_not_restored(console: Console) -> None:
    key_id = await add_customer(console, "erased")
    lines = await exported(console)
    await console.delete("/v1/customers/erased")
    purge = {"confirm": "erased"}
    assert (await console.post("/v1/customers/erased/purge", json=purge)).status_code == 200
    await restored(console, lines)
    assert (await console.get("/v1/customers/erased")).status_code == 404
    assert (await console.get(f"/v1/keys/{key_id}")).json()["state"] == "purged"
    assert console.sql("SELECT count(*) FROM key_credit WHERE family_id = '@erased'") == "0"
    # A later customer with the same ID is another one.
    await add_customer(console, "erased")
    lines = await exported(console)
    console.sql("TRUNCATE customer, api_key, key_credit CASCADE")
    await restored(console, lines)
    customer = (await console.get("/v1/customers/erased")).json()
    assert (customer["credits"]["remaining"], customer["keys"]) == (7, 1)
