"""Idempotency-Key of console requests (draft-ietf-httpapi-idempotency-key-header)."""

import asyncio
import json
import re
from typing import Any

import httpx
import msgspec
import pytest
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.validation import strings
from gatehouse.services.console.idempotency import RUNNING_S_MAX, Claim, IdempotencyStore
from gatehouse.services.console.routes import ENDPOINTS

from tests.runtime.console_client import Console, assert_problem, outcome

SHOWN_ONCE = {
    *("create_key", "rotate_key", "create_secret", "create_secret_request", "create_webhook"),
    *("rotate_webhook_secret", "create_sign_in_link"),
}
#: A token, the secret of a webhook or a link in an example.
_CREDENTIAL = re.compile(r"^gtk_.*\.\.\.$|^whsec_|#")
DRAFT_KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'  # the example of the draft, section 2.1


async def create_key(
    console: Console, key: str, path: str = "/v1/keys", **properties: Any
) -> httpx.Response:
    return await console.post(
        path, json={"name": "a key", **properties}, headers={"Idempotency-Key": key}
    )


async def count(console: Console, tag: str) -> int:
    return len((await console.get("/v1/keys", params={"tag": tag})).json()["keys"])


async def test_repeated_creation_returns_the_same_token(console: Console) -> None:
    first = await create_key(console, DRAFT_KEY, tags=["repeats"])
    again = await create_key(console, DRAFT_KEY, tags=["repeats"])
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (again.headers["location"], again.headers["etag"]) == (
        first.headers["location"],
        first.headers["etag"],
    )
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (
        False,
        "true",
    )
    assert again.headers["cache-control"] == "no-store"
    assert await count(console, "repeats") == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/keys/{other}/rotate", {}),
        ("POST", "/v1/keys/{key}/disable", {}),
        ("POST", "/v1/keys/{key}/rotate?a=b", {}),
        ("POST", "/v1/keys/{key}/rotate", {"grace_s": 60}),
        ("POST", "/v1/keys", {"name": "a key"}),
        ("DELETE", "/v1/keys/{key}", None),
        ("PATCH", "/v1/keys/{key}", {"name": "another"}),
    ],
)
async def test_idempotency_key_of_another_request_is_rejected(
    console: Console, method: str, path: str, body: Any
) -> None:
    ids = {"key": await console.create_id(), "other": await console.create_id()}
    headers = {"Idempotency-Key": f'"{ids["key"]}"'}
    first = await console.post(f"/v1/keys/{ids['key']}/rotate", json={}, headers=headers)
    assert first.status_code == 201
    reply = await console.request(method, path.format(**ids), json=body, headers=headers)
    assert outcome(reply) == (422, "idempotency_key_reused")
    assert "Use a new Idempotency-Key for each request" in reply.json()["detail"]
    again = await console.post(f"/v1/keys/{ids['key']}/rotate", json={}, headers=headers)
    assert again.json()["token"] == first.json()["token"]


async def test_concurrent_requests_create_one_key(console: Console) -> None:
    replies = await asyncio.gather(
        *(create_key(console, '"concurrent"', tags=["concurrent"]) for _ in range(12))
    )
    tokens = {reply.json()["token"] for reply in replies if reply.status_code == 201}
    busy = [reply for reply in replies if reply.status_code != 201]
    assert len(tokens) == 1
    assert {outcome(reply) for reply in busy} <= {(409, "request_in_progress")}
    assert all(reply.headers["retry-after"] == "1" for reply in busy)
    assert await count(console, "concurrent") == 1


async def test_idempotency_keys_are_separate_per_caller(console: Console) -> None:
    other = (await console.create(scopes=["admin"]))["token"]
    first = await create_key(console, '"mine"')
    reply = await console.post(
        "/v1/keys",
        json={"name": "a key"},
        headers={"Idempotency-Key": '"mine"', **console.as_(other)},
    )
    assert reply.status_code == 201
    assert reply.json()["token"] != first.json()["token"]


async def test_revoked_caller_gets_no_replayed_response(console: Console) -> None:
    other = await console.create(scopes=["role:issuer"])
    headers = {"Idempotency-Key": '"rights"', **console.as_(other["token"])}
    assert (await console.post("/v1/keys", json={"name": "a"}, headers=headers)).status_code == 201
    await console.post(f"/v1/keys/{other['key']['id']}/revoke")
    assert (await console.post("/v1/keys", json={"name": "a"}, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        b'"' + b"k" * 256 + b'"',
        b'"a"b"',
        b'"a";b',
        b'"a\\b"',
        b'"tab\there"',
        b'"\xe9"',
        b"k" * 256,
        b"a, b",
        b"a b",
        b"",
        b'""',
        b'"open',
    ],
)
async def test_malformed_idempotency_key_creates_nothing(console: Console, header: bytes) -> None:
    before = console.sql("SELECT count(*) FROM api_key")
    reply = await console.post(
        "/v1/keys", json={"name": "a"}, headers=[(b"Idempotency-Key", header)]
    )
    fix = "send one UUID, or at most 255 other visible ASCII characters"
    assert_problem(reply, 400, "header.idempotency-key", "is malformed or too long", fix)
    assert console.sql("SELECT count(*) FROM api_key") == before


async def test_idempotency_key_is_accepted_without_quotes(console: Console) -> None:
    first, second = [
        await create_key(console, key) for key in ("8e03978e-40d5-43dd", '"8e03978e-40d5-43dd"')
    ]
    assert second.status_code == 201
    assert second.json() == first.json()


async def test_rejected_request_releases_its_idempotency_key(console: Console) -> None:
    assert (await create_key(console, '"corrected"', ttl_s=0)).status_code == 400
    assert (await create_key(console, '"corrected"', ttl_s=60)).status_code == 201


async def test_stored_response_contains_no_plaintext(console: Console) -> None:
    reply = await create_key(console, '"secret-key-4711"', name="a unique name")
    stored = console.sql(
        "SELECT idempotent_request.*, encode(sealed, 'escape') FROM idempotent_request"
    )
    for hidden in (reply.json()["token"], "secret-key-4711", "a unique name"):
        assert hidden not in stored
        assert hidden.encode().hex() not in stored


async def test_purge_deletes_the_stored_response(console: Console) -> None:
    created = (await create_key(console, '"purged"', tags=["purged"])).json()["key"]
    await console.post(f"/v1/keys/{created['id']}/revoke")
    await console.post(f"/v1/keys/{created['id']}/purge", json={"confirm": created["id"]})
    reply = await create_key(console, '"purged"', tags=["purged"])
    assert outcome(reply) == (409, "response_lost")
    assert reply.json()["target_id"] == created["id"]


class WaitingStore(IdempotencyStore):
    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.called, self.permitted = asyncio.Event(), asyncio.Event()

    async def save(self, *arguments: Any, **options: Any) -> None:
        self.called.set()
        await self.permitted.wait()
        await super().save(*arguments, **options)


class UnreliableStore(IdempotencyStore):
    """Stores no response, like a console that is killed between the change and its response."""

    async def save(self, *_: Any, **__: Any) -> None:
        raise Unavailable


class LaterClock(Clock):
    def __init__(self, later_s: float) -> None:
        self.later_s = later_s

    def now(self) -> float:
        return super().now() + self.later_s


async def test_request_is_in_progress_until_its_response_is_stored(console: Console) -> None:
    store = WaitingStore(console.pool)
    request: dict[str, Any] = {
        "json": {"name": "a", "tags": ["waiting"]},
        "headers": {"Idempotency-Key": '"waiting"'},
    }
    async with console.connect(idempotency_store=store) as client:
        first = asyncio.create_task(client.post("/v1/keys", **request))
        await store.called.wait()
        assert await count(console, "waiting") == 1
        busy = await console.post("/v1/keys", **request)
        store.permitted.set()
        await first
    assert outcome(busy) == (409, "request_in_progress")
    assert (await console.post("/v1/keys", **request)).content == first.result().content


async def test_completed_request_without_response_is_not_repeated(console: Console) -> None:
    request: dict[str, Any] = {
        "json": {"name": "a", "tags": ["lost"]},
        "headers": {"Idempotency-Key": '"lost"'},
    }
    async with console.connect(idempotency_store=UnreliableStore(console.pool)) as client:
        created = (await client.post("/v1/keys", **request)).json()
    assert (await console.post("/v1/keys", **request)).json()["code"] == "request_in_progress"
    async with console.connect(clock=LaterClock(RUNNING_S_MAX)) as client:
        reply = await client.post("/v1/keys", **request)
    assert outcome(reply) == (409, "response_lost")
    assert reply.json()["target_id"] == created["key"]["id"]
    assert await count(console, "lost") == 1


async def test_abandoned_request_is_taken_over_after_its_timeout(console: Console) -> None:
    async def reply() -> httpx.Response:
        return await create_key(console, '"gone"', tags=["gone"])

    assert (await reply()).status_code == 201
    # The request changed nothing: its ID has neither a response nor an audit event.
    abandoned = (
        "UPDATE idempotent_request SET sealed = NULL, running = true, request_id = 'req_nobody'"
    )
    console.sql(abandoned)
    assert (await reply()).json()["code"] == "request_in_progress"
    console.sql(f"{abandoned}, claimed_at = now() - interval '121 seconds'")
    assert (await reply()).status_code == 201
    # Events of later hours are not searched.
    event = Actor("system", "test", RequestId("req_nobody")).event(
        AuditAction.KEY_CREATE, target_id="late", at=console.clock.now(), details={}
    )
    await AuditRepository(console.pool).append(event)
    console.database.sql(f"{abandoned}, claimed_at = now() - interval '61 minutes'")
    assert (await reply()).status_code == 201


async def test_stored_response_expires_after_a_day(console: Console) -> None:
    console.sql("DELETE FROM idempotent_request")
    store, day = IdempotencyStore(console.pool), 86_400
    request: dict[str, Any] = {"json": {"name": "a"}, "headers": {"Idempotency-Key": '"a-day"'}}
    tokens = []
    for later_s in (0, day - 60, day + 60):
        async with console.connect(clock=LaterClock(later_s)) as client:
            tokens.append((await client.post("/v1/keys", **request)).json()["token"])
    assert tokens[0] == tokens[1] != tokens[2]
    now = console.clock.now()
    assert await store.claim(Claim(b"l" * 32, b"f" * 32, "req_of_a_killed_process", now)) is None
    for later_s, stored, incomplete in ((2 * day, "1", 1), (2 * day + 120, "0", 0)):
        assert await store.prune(now=now + later_s) == incomplete
        assert console.sql("SELECT count(*) FROM idempotent_request").split() == [stored]


async def test_repeated_update_and_deletion_receive_the_first_response(console: Console) -> None:
    webhook = (await console.post("/v1/webhooks", json={"url": "https://x.example"})).json()[
        "webhook"
    ]["id"]
    key = (await console.create())["key"]
    for method, path, body, version, status in (
        ("PATCH", f"/v1/keys/{key['id']}", {"notes": "changed"}, key["version"], 200),
        ("DELETE", f"/v1/webhooks/{webhook}", None, 0, 204),
    ):
        headers = {"Idempotency-Key": f'"{method}"', "If-Match": f'"{version}"'}
        first, again = [
            await console.request(method, path, json=body, headers=headers) for _ in range(2)
        ]
        assert (first.status_code, again.status_code, again.content) == (
            status,
            status,
            first.content,
        )
        assert again.headers["idempotency-replayed"] == "true"


ONLY = {"Idempotency-Replay": "only"}


async def replay(
    console: Console, key: str, path: str = "/v1/keys", **headers: str
) -> httpx.Response:
    return await console.post(path, headers={"Idempotency-Key": key, **ONLY, **headers})


async def test_replay_returns_the_response_without_the_request(console: Console) -> None:
    first = await create_key(console, '"replayed"', tags=["replay"])
    again = await replay(console, '"replayed"')
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert (await replay(console, '"replayed"')).content == first.content
    assert await count(console, "replay") == 1


async def test_replay_changes_nothing_and_leaves_the_key_usable(console: Console) -> None:
    assert outcome(await replay(console, '"never sent"')) == (409, "response_not_stored")
    assert outcome(await console.post("/v1/keys", headers=ONLY)) == (400, "bad_request")
    rejected = await create_key(console, '"never sent"', name="")
    assert rejected.status_code == 400
    assert outcome(await replay(console, '"never sent"')) == (409, "response_not_stored")
    assert (await create_key(console, '"never sent"', tags=["unused"])).status_code == 201
    assert (await replay(console, '"never sent"')).status_code == 201


async def test_replay_needs_the_same_caller_and_operation(console: Console) -> None:
    key_id = (await create_key(console, '"same"')).json()["key"]["id"]
    other = console.as_((await console.create(scopes=["admin"]))["token"])
    assert outcome(await replay(console, '"same"', **other)) == (409, "response_not_stored")
    path = f"/v1/keys/{key_id}/rotate"
    assert outcome(await replay(console, '"same"', path)) == (422, "idempotency_key_reused")


async def test_replay_needs_the_roles_of_the_request(console: Console) -> None:
    owner = await console.create(scopes=["admin"])
    headers = {"Idempotency-Key": '"roles"', **console.as_(owner["token"])}
    body = {"name": "a key", "scopes": ["role:operator"]}
    assert (await console.post("/v1/keys", json=body, headers=headers)).status_code == 201
    assert (await replay(console, '"roles"', **headers)).status_code == 201
    for scopes in (["role:issuer"], ["role:auditor"]):
        path = f"/v1/keys/{owner['key']['id']}"
        changed = {"json": {"scopes": scopes}, "headers": {"If-Match": "*"}}
        assert (await console.patch(path, **changed)).status_code == 200
        assert outcome(await replay(console, '"roles"', **headers)) == (403, "forbidden")


async def test_replay_ends_with_the_stored_response(console: Console) -> None:
    created = (await create_key(console, '"ends"')).json()["key"]["id"]
    await console.delete(f"/v1/keys/{created}")
    purge = {"json": {"confirm": created}}
    assert (await console.post(f"/v1/keys/{created}/purge", **purge)).status_code == 200
    assert outcome(await replay(console, '"ends"')) == (409, "response_lost")


def test_every_value_that_is_shown_once_is_marked() -> None:
    """The examples of the responses contain credentials only in fields with the mark."""
    found = set()
    for endpoint in ENDPOINTS:
        if endpoint.changes_state and endpoint.response is not None:
            [schema], components = msgspec.json.schema_components([endpoint.response])
            text = json.dumps([schema, components])
            marked = set(re.findall(r'"(\w+)": \{[^{}]*"x-shown-once": true', text))
            value = msgspec.json.decode(msgspec.json.encode(example(endpoint.response)))
            for location, each in strings(value, "", frozenset()):
                if _CREDENTIAL.search(each):
                    found.add(endpoint.operation_id)
                    assert location.rpartition(".")[2] in marked, (endpoint.operation_id, location)
    assert found == SHOWN_ONCE
