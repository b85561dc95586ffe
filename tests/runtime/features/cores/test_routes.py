"""Cores at the console."""

import pytest
from gatehouse.features.cores.reports import InstanceReport, InstanceState, WorkerReport, bucket_of
from gatehouse.features.cores.repository import CoreRepository

from tests.runtime.console_client import Console, outcome
from tests.runtime.core_records import register


async def test_operator_ends_a_registration(console: Console) -> None:
    key_id = await register(console, "docs")
    operator = (await console.create(name="operator", scopes=["role:operator"]))["token"]
    assert (
        await console.delete("/v1/cores/docs", headers=console.as_(operator))
    ).status_code == 204
    (core,) = (
        core for core in (await console.get("/v1/cores")).json()["cores"] if core["name"] == "docs"
    )
    assert (core["draining"], core["live"]) == (True, False)
    events = await console.events(action="core.drain")
    assert (events[0]["target_id"], events[0]["details"]) == (
        "docs",
        {"instance_ids": ["default"], "registered_by": [key_id]},
    )
    reply = await console.delete("/v1/cores/docs")
    assert outcome(reply) == (404, "not_found")


@pytest.mark.parametrize("name", ["unknown", "No-Name", "a%00b", "x" * 300])
async def test_unknown_core_is_404(console: Console, name: str) -> None:
    reply = await console.delete(f"/v1/cores/{name}")
    assert outcome(reply) == (404, "not_found")


async def test_operator_drains_one_instance(console: Console) -> None:
    key_id = await register(console, "wiki", "a", "b")
    assert (await console.delete("/v1/cores/wiki?instance=a")).status_code == 204
    cores = [
        core for core in (await console.get("/v1/cores")).json()["cores"] if core["name"] == "wiki"
    ]
    assert [(core["instance_id"], core["draining"], core["live"]) for core in cores] == [
        ("a", True, False),
        ("b", False, True),
    ]
    events = await console.events(action="core.drain")
    assert (events[0]["target_id"], events[0]["details"]) == (
        "wiki",
        {"instance_ids": ["a"], "registered_by": [key_id]},
    )
    console.sql("UPDATE core SET expires_at = now() - interval '9 minutes' WHERE instance_id = 'b'")
    replies = (("a", 404), ("b", 204), ("b", 404), ("c", 404), ("a b", 400), ("x" * 300, 400))
    for instance, status in replies:
        reply = await console.delete("/v1/cores/wiki", params={"instance": instance})
        assert reply.status_code == status


async def test_pages_divide_the_instances_of_a_core(console: Console) -> None:
    await register(console, "paged", "a", "b", "c")
    found, cursor = [], None
    while True:
        query = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await console.get("/v1/cores", params=query)).json()
        assert len(page["cores"]) <= 2
        found += [(core["name"], core["instance_id"]) for core in page["cores"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == sorted(set(found))
    assert [instance for name, instance in found if name == "paged"] == ["a", "b", "c"]


async def test_reports_of_live_workers_are_added(console: Console) -> None:
    await register(console, "status", "a")
    for number, ejected in enumerate((True, False, True)):
        worker = f"worker-{number}"
        console.sql(
            f"INSERT INTO gateway_worker (id, confirmed_seq, seen_at) VALUES ('{worker}', 0, now())"  # noqa: S608
        )
        state = InstanceState(ejected=ejected)
        report = InstanceReport(
            "status", "a", "lease", state, 10, 2, 80_000, {bucket_of(10_000): 8}
        )
        await CoreRepository(console.pool).write_reports(worker, WorkerReport(True, [report]))
    console.sql(
        "UPDATE gateway_worker SET core_reports_at = now() - interval '1 minute' WHERE id = "
        "'worker-2'"
    )
    console.sql(
        "INSERT INTO gateway_worker (id, confirmed_seq, seen_at) VALUES ('earlier version', 0, "
        "now())"
    )
    cores = {core["name"]: core for core in (await console.get("/v1/cores")).json()["cores"]}
    assert cores["status"]["circuit_breakers"] == {"gateways": 2, "open": 1}
    assert cores["status"]["state"] == "failing"
    assert cores["status"]["last_minute"] == {
        "requests": 20,
        "failures": 4,
        "mean_ms": 10.0,
        "p95_ms": 10.2,
        "problem": None,
    }
    console.sql("DELETE FROM gateway_worker")
    await CoreRepository(console.pool).write_reports("worker-0", WorkerReport(True, []))
    cores = {core["name"]: core for core in (await console.get("/v1/cores")).json()["cores"]}
    assert cores["status"]["circuit_breakers"]["gateways"] == 0
