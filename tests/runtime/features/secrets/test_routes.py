"""Management of secrets at the console."""

import base64
from typing import Any

import msgspec
import pytest
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import checksum
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.models import CONTENT_JSON_BYTES_MAX, FILES_BYTES_MAX
from gatehouse.features.secrets.schemas import CreatedSecret, CreateSecret
from gatehouse.platform.web.validation import validate

from tests.cases import cases
from tests.runtime.conftest import Database
from tests.runtime.console_client import (
    Console,
    assert_problem,
    open_console,
    outcome,
    rejected_part,
)
from tests.runtime.features.secrets.faults import CALLS_MAX, faults
from tests.runtime.features.secrets.members import ALL, Member
from tests.runtime.features.secrets.services import Sharing

_CASES = cases(__file__)

TEXT = "correct horse battery staple \N{HORSE FACE}"


class Sender(Member):
    async def create(self, **body: Any) -> tuple[dict[str, Any], list[LinkToken]]:
        reply = await self.send("POST", "", {"text": TEXT, **body})
        assert reply.status_code == 201, reply.text
        created = msgspec.to_builtins(msgspec.json.decode(reply.content, type=CreatedSecret))
        tokens = [token for link in created["links"] if (token := parse(link["url"])) is not None]
        assert len(tokens) == len(created["links"])
        return created["secret"], tokens


async def test_secret_is_created_opened_changed_and_revoked(
    console: Console, sharing: Sharing
) -> None:
    sender = await Sender.of(console)
    secret, (first, second) = await sender.create(recipients=["Grace", "Alan"], label="database")
    assert (secret["state"], secret["owner"], secret["sender"]) == (
        "active",
        f"key:{sender.id}",
        f"key:{sender.id}",
    )
    assert (secret["label"], secret["revision"]) == ("database", 1)
    assert secret["expires_at"] == rfc3339(sharing.clock.now() + 259_200)
    assert [link["recipient"] for link in secret["links"]] == ["Grace", "Alan"]

    assert await sharing.read(first) == TEXT.encode()
    listed = (await sender.send("GET", "")).json()
    assert [
        (item["id"], [link["uses"] for link in item["links"]]) for item in listed["secrets"]
    ] == [(secret["id"], [1, 0])]

    changed = await sender.send(
        "PATCH", f"/{secret['id']}", {"uses": 2, "label": "db"}, **{"If-Match": '"1"'}
    )
    assert (changed.status_code, changed.headers["etag"], changed.json()["label"]) == (
        200,
        '"2"',
        "db",
    )
    assert await sharing.read(first) == TEXT.encode()

    assert (
        await sender.send("POST", f"/{secret['id']}/links/{second.link_id}/revoke")
    ).status_code == 200
    with pytest.raises(LinkNotFound):
        await sharing.open(second)
    rotated = (await console.post(f"/v1/keys/{sender.id}/rotate")).json()
    sender = Sender(console, rotated)  # a key and its rotations own the same secrets
    revoked = (await sender.send("POST", f"/{secret['id']}/revoke")).json()
    assert (revoked["state"], revoked["ended_at"] is not None) == ("revoked", True)
    assert (await sender.send("POST", f"/{secret['id']}/revoke")).json()["state"] == "revoked"
    assert (
        await sender.send("PATCH", f"/{secret['id']}", {"uses": 3}, **{"If-Match": "*"})
    ).status_code == 409


async def test_new_version_is_opened_and_an_earlier_one_restored(
    console: Console, sharing: Sharing
) -> None:
    sender = await Sender.of(console)
    secret, (token,) = await sender.create(uses=3)
    path = f"/{secret['id']}"
    replaced = await sender.send(
        "PUT", f"{path}/content", {"text": "second"}, **{"If-Match": '"1"'}
    )
    assert [version["number"] for version in replaced.json()["versions"]] == [2, 1]
    assert await sharing.read(token) == b"second"
    assert (
        await sender.send("PUT", f"{path}/content", {"text": "third"}, **{"If-Match": '"1"'})
    ).status_code == 412
    restored = await sender.send(
        "POST", f"{path}/restore-version", {"version": 1}, **{"If-Match": replaced.headers["etag"]}
    )
    assert [version["number"] for version in restored.json()["versions"]] == [1, 2]
    assert await sharing.read(token) == TEXT.encode()


async def test_end_to_end_content_is_stored_as_it_was_sent(
    console: Console, sharing: Sharing
) -> None:
    sender = await Sender.of(console)
    ciphertext = bytes(range(100))
    secret, (token,) = await sender.create(
        text=None, ciphertext_base64=base64.b64encode(ciphertext).decode()
    )
    assert secret["end_to_end"] is True
    assert await sharing.read(token) == ciphertext
    reply = await sender.send(
        "PUT", f"/{secret['id']}/content", {"text": "plain"}, **{"If-Match": "*"}
    )
    assert_problem(
        reply,
        400,
        "body",
        "must be encrypted in the same way as the secret",
        "send ciphertext_base64, as when the secret was created",
    )


async def test_state_is_shown_before_the_content_is_deleted(
    console: Console, sharing: Sharing
) -> None:
    sender = await Sender.of(console)
    used, (token,) = await sender.create()
    expired, _ = await sender.create(ttl_s=300)
    revoked, (other,) = await sender.create()
    await sharing.open(token)
    await sender.send("POST", f"/{revoked['id']}/links/{other.link_id}/revoke")
    sharing.clock.advance(301)
    states = [
        (await sender.send("GET", f"/{secret['id']}")).json()["state"]
        for secret in (used, expired, revoked)
    ]
    assert states == ["used", "expired", "revoked"]


INVALID: list[Any] = [
    *_CASES["invalid"],
    {"text": "x" * 65_537},
    {"text": "\N{HORSE FACE}" * 16_385},
]


@pytest.mark.parametrize("body", INVALID)
def test_invalid_secret_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        validate(body, CreateSecret, "body")


@pytest.mark.bound("secrets.models:FILES_BYTES_MAX", "secrets.models:CONTENT_JSON_BYTES_MAX")
async def test_only_content_may_be_large(console: Console) -> None:
    sender = await Sender.of(console)
    secret, _ = await sender.create()
    body = {"label": "x" * 70_000}
    assert (
        await sender.send("PATCH", f"/{secret['id']}", body, **{"If-Match": "*"})
    ).status_code == 413
    body = {"text": "x", "label": "x" * (CONTENT_JSON_BYTES_MAX + 70_000)}
    assert (await sender.send("POST", "", body)).status_code == 413
    for size, status in ((FILES_BYTES_MAX, 201), (FILES_BYTES_MAX + 1, 400)):
        content = base64.b64encode(bytes(size - 1)).decode()
        files = [{"name": "a", "content_base64": content}, {"name": "b", "content_base64": "eA=="}]
        assert (await sender.send("POST", "", {"files": files})).status_code == status


async def test_api_key_is_accepted_as_content_only(console: Console, sharing: Sharing) -> None:
    sender = await Sender.of(console)
    head = "gtk_admin_" + "a" * 43
    key = head + checksum(head)
    _, (token,) = await sender.create(text=f"the key is {key}", passphrase=key)
    assert await sharing.read(token, passphrase=key) == f"the key is {key}".encode()
    for field in ("label", "sender"):
        reply = await sender.send("POST", "", {"text": "x", field: key})
        assert rejected_part(reply) == (400, f"body.{field}")


async def test_role_decides_about_secrets_of_others(console: Console, sharing: Sharing) -> None:
    sender = await Sender.of(console)
    readers = {Role.OWNER, Role.OPERATOR, Role.AUDITOR}
    for role in (*readers, Role.ISSUER, *map(Role, ALL)):
        other = await Sender.of(console, role.scope)
        secret, (token,) = await sender.create()
        reads = 200 if role in readers else 404 if role is Role.READ_SECRETS else 403
        changes = 403 if role is not Role.CREATE_SECRETS else 404
        revokes = 404 if role is Role.REVOKE_SECRETS else 403
        revokes = 200 if role in readers - {Role.AUDITOR} else revokes
        statuses = [
            (method, path, expected, (await other.send(method, path, body, **match)).status_code)
            for method, path, body, match, expected in (
                ("GET", "", None, {}, reads),
                ("GET", "/receipt", None, {}, reads),
                ("PATCH", "", {"label": "mine"}, {"If-Match": "*"}, changes),
                ("PUT", "/content", {"text": "mine"}, {"If-Match": "*"}, changes),
                ("POST", "/restore-version", {"version": 1}, {"If-Match": "*"}, changes),
                ("POST", f"/links/{token.link_id}/revoke", None, {}, revokes),
                ("POST", "/revoke", None, {}, revokes),
            )
            for path in [f"/{secret['id']}{path}"]
        ]
        assert [entry for entry in statuses if entry[2] != entry[3]] == [], role
        after = (await sender.send("GET", f"/{secret['id']}")).json()
        assert (after["label"], after["state"]) == ("", "revoked" if revokes == 200 else "active")
        _, events = await sharing.backend.table.with_events(secret["id"]) or ({}, [])
        actors = {
            event.audit_event.actor_id
            for event in events
            if event.audit_event.action in (AuditAction.SECRET_REVOKE, AuditAction.LINK_REVOKE)
        }
        assert actors == ({other.id} if revokes == 200 else set())
        listed = await other.send("GET", f"?owner=key:{sender.id}")
        assert listed.status_code == (200 if reads == 200 else 403)
        assert reads != 200 or listed.json()["secrets"][0]["id"] == secret["id"]
        sharing.clock.advance(60)  # the number of creations per minute is limited


async def test_pages_contain_every_secret_once(console: Console, sharing: Sharing) -> None:
    sender = await Sender.of(console)
    created = []
    for seconds in (0, 1, 0, 1, 0):  # two pairs with the same creation time
        sharing.clock.advance(seconds)
        created.append((await sender.create())[0]["id"])
    seen, path, pages = [], "?limit=2", 0
    while path:
        page = (await sender.send("GET", path)).json()
        seen += [item["id"] for item in page["secrets"]]
        pages += 1
        path = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert (sorted(seen), pages) == (sorted(created), 3)
    assert seen[0] in created[3:]


async def test_repeated_create_returns_the_same_links(console: Console, sharing: Sharing) -> None:
    sender, once = (
        await Sender.of(console),
        {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'},
    )
    first = await sender.send("POST", "", {"text": TEXT}, **once)
    again = await sender.send("POST", "", {"text": TEXT}, **once)
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (
        201,
        201,
        "true",
    )
    assert again.json() == first.json()
    assert len((await sender.send("GET", "")).json()["secrets"]) == 1
    assert (await sender.send("POST", "", {"text": "another"}, **once)).status_code == 422
    link = first.json()["links"][0]["url"].partition("#")[2]
    stored = console.sql("SELECT sealed, target_id FROM idempotent_request")
    assert link not in stored
    assert first.json()["secret"]["id"] in stored


@pytest.mark.parametrize("before", [True, False])
async def test_failed_create_is_repeated_and_ends_in_one_secret(
    console: Console, sharing: Sharing, *, before: bool
) -> None:
    sender, occurred, secrets = await Sender.of(console), 0, list[str]()
    for at in range(1, CALLS_MAX):
        sharing.clock.advance(60)  # the number of creations per minute is limited
        once = {"Idempotency-Key": f'"create-{before}-{at}"'}
        with faults(sharing, at, before=before) as fault:
            first = await sender.send("POST", "", {"text": TEXT}, **once)
        occurred += fault.occurred
        if first.status_code != 201:
            problem = (first.status_code, first.headers["content-type"], first.json()["code"])
            assert problem == (503, "application/problem+json", "unavailable")
        created = (await sender.send("POST", "", {"text": TEXT}, **once)).json()
        secrets.insert(0, created["secret"]["id"])
        listed = (await sender.send("GET", "")).json()["secrets"]
        assert [item["id"] for item in listed] == secrets
        token = parse(created["links"][0]["url"])
        assert token is not None
        assert await sharing.read(token) == TEXT.encode()
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1, "the sweep covers every call"


async def test_unconfigured_console_says_what_is_missing(database: Database) -> None:
    async with open_console(database) as console:
        reply = await console.get("/v1/secrets")
        assert (reply.status_code, "GATEHOUSE_SECRETS_BUCKET" in reply.json()["detail"]) == (
            404,
            True,
        )


async def test_token_of_a_key_is_delivered_by_link(console: Console, sharing: Sharing) -> None:
    owner = await Sender.of(console, "admin")
    headers = console.as_(owner.token)
    created = (
        await console.post("/v1/keys", json={"name": "k", "delivery": "link"}, headers=headers)
    ).json()
    key_id = created["key"]["id"]
    rotated = (
        await console.post(f"/v1/keys/{key_id}/rotate", json={"delivery": "link"}, headers=headers)
    ).json()
    for reply in (created, rotated):
        assert "token" not in reply
        link = parse(reply["link"])
        assert link is not None
        delivered = (await sharing.read(link)).decode()
        assert delivered.startswith(reply["key"]["start"])
        with pytest.raises(LinkNotFound):
            await sharing.open(link)
    listed = (await owner.send("GET", "")).json()["secrets"]
    assert {secret["label"] for secret in listed} == {
        f"API key {rotated['key']['id']}",
        f"API key {key_id}",
    }


async def test_key_without_a_link_is_not_created(console: Console, sharing: Sharing) -> None:
    owner = await Sender.of(console, "admin")
    created = await console.create(name="k", customer_id="limited")
    for _ in range(10):
        await owner.create()
    body, headers = (
        {"name": "k", "customer_id": "limited", "delivery": "link"},
        console.as_(owner.token),
    )
    for path in ("/v1/keys", f"/v1/keys/{created['key']['id']}/rotate"):
        body = body if path == "/v1/keys" else {"delivery": "link"}
        reply = await console.post(path, json=body, headers=headers)
        assert outcome(reply) == (429, "rate_limited")
        assert int(reply.headers["Retry-After"]) > 1
    (key,) = (await console.get("/v1/keys?customer=limited")).json()["keys"]
    assert (key["id"], key["successor_id"]) == (created["key"]["id"], None)


async def test_link_to_a_key_that_is_not_created_is_revoked(
    console: Console, sharing: Sharing
) -> None:
    owner = await Sender.of(console, "admin")
    console.sql("ALTER TABLE api_key ADD CONSTRAINT refused CHECK (name <> 'refused') NOT VALID")
    try:
        reply = await console.post(
            "/v1/keys",
            json={"name": "refused", "delivery": "link"},
            headers=console.as_(owner.token),
        )
    finally:
        console.sql("ALTER TABLE api_key DROP CONSTRAINT refused")
    assert reply.status_code >= 500
    assert [item["state"] for item in (await owner.send("GET", "")).json()["secrets"]] == [
        "revoked"
    ]


async def test_link_delivery_requires_secret_sharing(database: Database) -> None:
    async with open_console(database) as console:
        reply = await console.post(
            "/v1/keys", json={"name": "k", "delivery": "link", "tags": ["unshared"]}
        )
        message = "requires secret sharing, which is not configured"
        assert_problem(reply, 400, "body.delivery", message, "send `token`")
        assert (await console.get("/v1/keys?tag=unshared")).json()["keys"] == []
