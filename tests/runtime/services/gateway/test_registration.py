"""Core registration."""

import base64
import hmac
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gatehouse.core.cores import ECHO
from gatehouse.core.tokens.token_scanner import CORE_PREFIX
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import SearchAudit
from gatehouse.features.cores.schemas import LeaseRequest
from gatehouse.platform.db.pool import Pool

from tests.runtime.core_records import changed_settings
from tests.runtime.services.gateway.conftest import SERVE, running_gateway


async def test_registration_returns_lease_and_secret(gateway: Any, core: Any, agent: Any) -> None:
    reply = await gateway.put_core(agent, "docs", {"url": core.url + "/", "ttl_s": 30})
    lease = reply.json
    assert reply.status == 200
    assert (lease["name"], lease["url"], lease["heartbeat_s"]) == ("docs", core.url, 10)
    expires = (
        datetime.fromisoformat(lease["expires_at"]).timestamp() - datetime.now(UTC).timestamp()
    )
    assert 5 < expires <= 30
    digest = hmac.digest(bytes(range(32)), f"core:docs:{lease['lease_id']}".encode(), "sha256")
    assert (
        lease["core_secret"] == CORE_PREFIX + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    )


async def test_renewal_keeps_every_field_that_it_does_not_contain(
    gateway: Any, core: Any, agent: Any
) -> None:
    fields = {"instance_id": "a", "settings": changed_settings(), "ttl_s": 300, "url": core.url}
    lease_id = (await gateway.put_core(agent, "docs", fields)).json["lease_id"]
    assert {*fields, "lease_id"} == {field.name for field in msgspec.structs.fields(LeaseRequest)}
    changed = ("expires_at", "change_seq", "version")

    async def row() -> dict[str, Any]:
        values = dict(await gateway.pool.fetchrow("SELECT * FROM core WHERE name = 'docs'"))
        return {name: value for name, value in values.items() if name not in changed}

    registered = await row()
    events = "SELECT count(*) FROM audit_event WHERE target_id = 'docs'"
    count = await gateway.pool.fetchval(events)
    for ttl_s, heartbeat_s in ((None, 100), (30, 10), (None, 10)):
        renewal = {"lease_id": lease_id} | ({} if ttl_s is None else {"ttl_s": ttl_s})
        lease = (await gateway.put_core(agent, "docs", renewal)).json
        left = datetime.fromisoformat(lease["expires_at"]).timestamp() - time.time()
        assert (lease["heartbeat_s"], lease["url"]) == (heartbeat_s, core.url)
        assert left > heartbeat_s
        assert "core_secret" not in lease
        assert await row() == {**registered, "lease_s": heartbeat_s * 3}
    assert await gateway.pool.fetchval(events) == count


async def test_renewal_may_change_url(gateway: Any, core: Any, agent: Any) -> None:
    lease = (await gateway.put_core(agent, "docs", {"url": "http://127.0.0.1:1"})).json
    moved = await gateway.put_core(agent, "docs", {"lease_id": lease["lease_id"], "url": core.url})
    assert (moved.status, moved.json["url"]) == (200, core.url)
    row = await gateway.pool.fetchrow(
        "SELECT action, details FROM audit_event WHERE target_id = 'docs' ORDER BY seq DESC LIMIT 1"
    )
    assert (row["action"], core.url in row["details"]) == ("core.move", True)


async def test_name_with_expired_lease_can_be_taken(gateway: Any, core: Any, agent: Any) -> None:
    lease = (await gateway.put_core(agent, "docs", {"url": "http://127.0.0.1:1"})).json
    await gateway.pool.execute("UPDATE core SET expires_at = now() - interval '1 second'")
    other = await gateway.create_key(scopes=["cores:register"])
    new = {"url": core.url, "instance_id": "other"}
    assert (await gateway.put_core(other, "docs", new)).status == 200
    renewal = await gateway.put_core(agent, "docs", {"lease_id": lease["lease_id"]})
    assert renewal.outcome == (409, "conflict")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://10.0.0.7:8080",
        "http://[::1]:9",
        "http://0x7f.1",
        "http://user@127.0.0.1",
        "http://127.0.0.1/a/../b",
        "gopher://127.0.0.1",
        "http://no-such-host.invalid",
    ],
)
async def test_disallowed_url_is_rejected(gateway: Any, agent: Any, url: str) -> None:
    reply = await gateway.put_core(agent, "evil", {"url": url})
    assert (reply.status, [error["location"] for error in reply.json["errors"]]) == (
        400,
        ["body.url"],
    )
    assert await gateway.pool.fetchval("SELECT count(*) FROM core WHERE name = 'evil'") == 0


@pytest.mark.parametrize(
    ("members", "location"),
    [
        ({}, "body.url"),
        ({"url": "http://127.0.0.1", "ttl_s": 4}, "body.ttl_s"),
        ({"url": "http://127.0.0.1", "ttl_s": 301}, "body.ttl_s"),
        ({"url": "http://127.0.0.1", "ttl": 10}, "body.ttl"),
        ({"lease_id": ""}, "body.lease_id"),
        (
            {"url": "http://127.0.0.1", "settings": {"remove_headers": ["x" * 60] * 70}},
            "body.settings",
        ),
    ],
)
async def test_invalid_registration_is_rejected(
    gateway: Any, agent: Any, members: dict[str, Any], location: str
) -> None:
    reply = await gateway.put_core(agent, "docs", members)
    assert (reply.status, [error["location"] for error in reply.json["errors"]]) == (
        400,
        [location],
    )


@pytest.mark.parametrize("name", ["Docs", "a.b", "-x", "a%20b", "x" * 41, ECHO])
async def test_invalid_core_name_is_rejected(
    gateway: Any, core: Any, agent: Any, name: str
) -> None:
    assert (await gateway.put_core(agent, name, {"url": core.url})).status == 400


async def test_registration_needs_scope_and_name(gateway: Any, core: Any, agent: Any) -> None:
    reader = await gateway.create_key()
    assert (await gateway.put_core(reader, "docs", {"url": core.url})).json[
        "code"
    ] == "INSUFFICIENT_PERMISSIONS"
    other = await gateway.create_key(scopes=["cores:register"], cores=["wiki"])
    assert (await gateway.put_core(other, "docs", {"url": core.url})).json["code"] == "FORBIDDEN"
    assert (await gateway.request("PUT", "/v1/cores/docs", body=b"{}")).status == 401


async def test_gateways_agree_on_leases_although_their_clocks_differ(
    gateway: Any, core: Any, agent: Any, database: Any, redis_url: str, tmp_path: Path
) -> None:
    await gateway.put_core(agent, "docs", {"url": core.url})
    for hours in (-2, 2):
        script = (
            f"import time; now = time.time; time.time = lambda: now() + {hours * 3600}\n{SERVE}"
        )
        with running_gateway(database, redis_url, tmp_path, script) as (port, *_):
            other = gateway.on_port(port)
            await other.register(core.url, status=409)
            assert (await other.put_core(agent, "docs", {"url": core.url})).status == 200
    await gateway.register(core.url, status=409)


async def test_registrations_are_audited(
    gateway: Any, core: Any, agent: Any, module_pool: Pool
) -> None:
    for settings in ({"basic_auth": True}, {}, {}):
        new = {"url": core.url, "settings": settings}
        lease = (await gateway.put_core(agent, "docs", new)).json
    await gateway.request("DELETE", f"/v1/cores/docs?lease_id={lease['lease_id']}", agent.header)
    trail = AuditRepository(module_pool)
    events, _ = await trail.page(after=None, size=4, only=SearchAudit(target_id="docs"))
    checked = await trail.uncheckpointed(None)
    assert [(row.event.action, row.event.actor_id, row.event.source_address) for row in events] == [
        ("core.drain", agent.id, "127.0.0.1"),
        *3 * [("core.register", agent.id, "127.0.0.1")],
    ]
    assert [row.event.details for row in events[1:]] == [
        {"instance_id": "default", "url": core.url, "settings": settings}
        for settings in ("unchanged", "{}", '{"basic_auth":true}')
    ]
    assert checked.rows >= 2
    assert checked.broken is None
    stored = await gateway.pool.fetchval(
        "SELECT string_agg(audit_event::text, '') || (SELECT string_agg(core::text, '') FROM "
        "core) FROM audit_event"
    )
    assert lease["core_secret"] not in stored
    assert agent.token not in stored
