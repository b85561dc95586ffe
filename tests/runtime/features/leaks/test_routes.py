"""Leak reports from GitHub and other scanners: signatures, actions and notifications."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.core.webhook_signatures import webhook_secret_text, webhook_signature
from gatehouse.features.leaks.service import PLACES_MAX
from gatehouse.features.notifications.repository import NotificationRepository
from pydantic import SecretStr

from tests.runtime.console_client import BOOTSTRAP

PRIVATE = ec.generate_private_key(ec.SECP256R1())
PEM = (
    PRIVATE.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode("ascii")
)
SECRET = bytes(range(32))
URL = "https://github.com/octocat/Hello-World/blob/main/config.yml"


@dataclasses.dataclass
class LeakReporter:
    """A console that accepts leak reports, and a reporter that signs them."""

    console: Any
    client: httpx.AsyncClient

    async def github(
        self, reports: Any, *, signed: bytes | None = None, identifier: str = "one"
    ) -> httpx.Response:
        body = reports if isinstance(reports, bytes) else json.dumps(reports).encode()
        created = PRIVATE.sign(body if signed is None else signed, ec.ECDSA(hashes.SHA256()))
        headers = {
            "Github-Public-Key-Identifier": identifier,
            "Github-Public-Key-Signature": base64.b64encode(created).decode(),
        }
        return await self.client.post("/v1/leaks/github", content=body, headers=headers)

    async def webhook(
        self, reports: Any, *, secret: bytes = SECRET, ahead_s: int = 0
    ) -> httpx.Response:
        body, at = json.dumps(reports).encode(), int(self.console.clock.now()) + ahead_s
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(at),
            "webhook-signature": webhook_signature(secret, "msg_1", at, body),
        }
        return await self.client.post("/v1/leaks", content=body, headers=headers)

    async def state(self, key_id: str) -> str:
        return str((await self.console.client.get(f"/v1/keys/{key_id}")).json()["state"])

    async def notifications(self, key_id: str) -> list[Any]:
        query = f"/v1/audit-events?target_id={key_id}&action=key.leak"
        return [
            event["details"] for event in (await self.console.client.get(query)).json()["events"]
        ]


Start = Callable[..., LeakReporter]


@pytest.fixture
async def start(console: Any) -> AsyncIterator[Start]:
    """Starts a console with a leak action and a client address. Without keys and a secret, the
    console accepts no reports.
    """
    opened: list[httpx.AsyncClient] = []

    def begin(
        action: Any = "disable",
        *,
        address: str = "192.0.2.9",
        keys: Any = None,
        secret: bytes | None = SECRET,
    ) -> LeakReporter:
        text = None if secret is None else SecretStr(webhook_secret_text(secret))
        known = json.dumps({"one": PEM} if keys is None else keys)
        client = console.connect(
            token="", address=address, leak_action=action, leak_github_keys=known, leak_secret=text
        )
        opened.append(client)
        return LeakReporter(console, client)

    yield begin
    await asyncio.gather(*(client.aclose() for client in opened))


def report(token: str, **more: str) -> dict[str, str]:
    return {"token": token, "type": "gatehouse_api_key", "url": URL, "source": "content", **more}


def hashed(token: str) -> str:
    return base64.b64encode(hashlib.sha256(token.encode()).digest()).decode()


@pytest.mark.requirement("CG-14")
async def test_reported_key_is_disabled_notified_and_labelled(start: Start) -> None:
    reporter = start()
    created = await reporter.console.create(owner="billing")
    token, key_id = created["token"], created["key"]["id"]
    reply = await reporter.github([report(token), report("gtk_test_" + "0" * 61)])
    assert reply.status_code == 200, reply.text
    assert reply.json() == [
        {"token_hash": hashed(token), "token_type": "gatehouse_api_key", "label": "true_positive"},
        {
            "token_hash": hashed("gtk_test_" + "0" * 61),
            "token_type": "gatehouse_api_key",
            "label": "false_positive",
        },
    ]
    assert await reporter.state(key_id) == "disabled"
    assert await reporter.notifications(key_id) == [
        {
            "url": URL,
            "source": "content",
            "action": "disable",
            "state": "active",
            "name": "a key",
            "owner": "billing",
        }
    ]


@pytest.mark.parametrize(
    ("action", "state"), [("notify", "active"), ("disable", "disabled"), ("revoke", "revoked")]
)
async def test_leak_action_follows_the_setting(start: Start, action: str, state: str) -> None:
    reporter = start(action)
    created = await reporter.console.create()
    assert (await reporter.webhook([report(created["token"])])).json()[0][
        "label"
    ] == "true_positive"
    assert await reporter.state(created["key"]["id"]) == state
    assert len(await reporter.notifications(created["key"]["id"])) == 1


async def test_reported_bootstrap_token_is_notified(start: Start) -> None:
    reporter = start("revoke")
    labels = (await reporter.webhook([report(BOOTSTRAP), report(BOOTSTRAP + "x")])).json()
    assert [label["label"] for label in labels] == ["true_positive", "false_positive"]
    assert await reporter.notifications("bootstrap") == [
        {"url": URL, "source": "content", "action": "notify"}
    ]
    assert BOOTSTRAP not in reporter.console.database.dump()
    assert (await reporter.console.client.get("/v1/keys")).status_code == 200


@pytest.mark.parametrize("scheme", ["sha256", "sha512-secret"])
async def test_reported_imported_key_is_revoked(start: Start, scheme: str) -> None:
    reporter = start("revoke")
    token = f"acme_{secrets.token_hex(8)}.{secrets.token_hex(16)}"
    key_id = await reporter.console.import_key(token, scheme)
    labels = (await reporter.webhook([report(token), report(token + "0")])).json()
    assert [label["label"] for label in labels] == ["true_positive", "false_positive"]
    assert await reporter.state(key_id) == "revoked"
    assert len(await reporter.notifications(key_id)) == 1


async def test_leak_is_sent_to_webhooks(start: Start) -> None:
    reporter = start("notify")
    hook = {"url": "https://hooks.example.com/x", "events": ["key.leaked"]}
    assert (await reporter.console.client.post("/v1/webhooks", json=hook)).status_code == 201
    notifications, clock = NotificationRepository(reporter.console.pool), reporter.console.clock
    while await notifications.follow(now=clock.now(), topic=False):
        pass
    created = await reporter.console.create()
    await reporter.webhook([report(created["token"])])
    while await notifications.follow(now=clock.now(), topic=False):
        pass
    waiting = await notifications.deliveries(state="waiting", after=("", ""), size=10)
    assert [(item.event, json.loads(item.body)["data"]["key_id"]) for item in waiting] == [
        ("key.leaked", created["key"]["id"])
    ]
    assert created["token"] not in waiting[0].body


async def test_leak_is_notified_once_per_location(start: Start) -> None:
    reporter = start("notify")
    created = await reporter.console.create()
    for url in (URL, URL, URL + "#L9"):
        assert (await reporter.webhook([report(created["token"], url=url)])).json()[0][
            "label"
        ] == "true_positive"
    assert [item["url"] for item in await reporter.notifications(created["key"]["id"])] == [
        URL + "#L9",
        URL,
    ]


@pytest.mark.bound("leaks.service:PLACES_MAX")
async def test_leak_notifications_per_key_are_bounded(start: Start) -> None:
    reporter = start("notify")
    created = await reporter.console.create()
    reports = [
        report(created["token"], url=f"https://a.example/{number}")
        for number in range(PLACES_MAX + 5)
    ]
    assert (await reporter.webhook(reports)).status_code == 200
    places = f"SELECT count(*) FROM key_leak WHERE key_id = '{created['key']['id']}'"  # noqa: S608
    assert reporter.console.database.sql(places) == str(PLACES_MAX)


async def test_known_id_with_wrong_secret_is_a_false_positive(start: Start) -> None:
    reporter = start("revoke")
    wrong_secret, unknown = await reporter.console.create(), await reporter.console.create()
    await reporter.console.pool.execute(
        "UPDATE api_key SET digest = $2 WHERE id = $1", wrong_secret["key"]["id"], bytes(32)
    )
    reporter.console.database.sql(f"DELETE FROM api_key WHERE id = '{unknown['key']['id']}'")  # noqa: S608
    labels = (
        await reporter.webhook([report(wrong_secret["token"]), report(unknown["token"])])
    ).json()
    assert [item["label"] for item in labels] == ["false_positive", "false_positive"]
    assert await reporter.state(wrong_secret["key"]["id"]) == "active"


async def test_revoked_or_deleted_key_is_a_true_positive(start: Start) -> None:
    reporter = start("disable")
    revoked, deleted = await reporter.console.create(), await reporter.console.create()
    await reporter.console.client.post(f"/v1/keys/{revoked['key']['id']}/revoke", json={})
    await reporter.console.client.request("DELETE", f"/v1/keys/{deleted['key']['id']}", json={})
    labels = (await reporter.webhook([report(revoked["token"]), report(deleted["token"])])).json()
    assert [item["label"] for item in labels] == ["true_positive", "true_positive"]
    assert [await reporter.state(item["key"]["id"]) for item in (revoked, deleted)] == [
        "revoked",
        "deleted",
    ]


async def test_leaked_last_admin_key_is_disabled(start: Start) -> None:
    reporter = start("disable")
    reporter.console.database.sql("UPDATE api_key SET state = 'disabled' WHERE state = 'active'")
    created = await reporter.console.create(roles=["admin"])
    await reporter.webhook([report(created["token"])])
    assert await reporter.state(created["key"]["id"]) == "disabled"


async def test_token_in_a_report_is_not_stored(start: Start) -> None:
    reporter = start("notify")
    created = await reporter.console.create()
    token = created["token"]
    await reporter.webhook(
        [report(token, url=f"https://paste.example/{token}\n?k={token}", source=token)]
    )
    (expected,) = await reporter.notifications(created["key"]["id"])
    assert expected["url"].startswith("https://paste.example/gtk_test_")
    stored = json.dumps(expected) + str(reporter.console.log.entries)
    assert token not in stored
    assert "\n" not in expected["url"]


@pytest.mark.parametrize(
    "send",
    [
        lambda reporter, reports: reporter.github(reports, signed=b"[]"),
        lambda reporter, reports: reporter.github(reports, identifier="two"),
        lambda reporter, reports: reporter.client.post("/v1/leaks/github", json=reports),
        lambda reporter, reports: reporter.webhook(reports, secret=bytes(32)),
        lambda reporter, reports: reporter.webhook(reports, ahead_s=-301),
    ],
    ids=["other body", "other key", "no signature", "other secret", "expired timestamp"],
)
async def test_unsigned_report_is_denied(
    start: Start, send: Callable[..., Awaitable[httpx.Response]]
) -> None:
    reporter = start("revoke")
    created = await reporter.console.create()
    reply = await send(reporter, [report(created["token"])])
    assert (reply.status_code, reply.json()["detail"]) == (
        401,
        "The signature is not from a configured reporter.",
    )
    assert created["token"] not in reply.text
    assert await reporter.state(created["key"]["id"]) == "active"


async def test_guessed_signatures_lock_out_their_address(start: Start) -> None:
    reporter = start("notify")
    for _ in range(10):
        assert (await reporter.webhook([], secret=bytes(32))).status_code == 401
    locked = await reporter.webhook([])
    assert (locked.status_code, locked.json()["code"]) == (429, "rate_limited")
    assert int(locked.headers["retry-after"]) > 0
    assert (await start("notify", address="198.51.100.1").webhook([])).status_code == 200


async def test_unconfigured_report_endpoint_is_404(start: Start, console: Any) -> None:
    reporter = start("revoke", keys={}, secret=None)
    assert [(await reporter.github([])).status_code, (await reporter.webhook([])).status_code] == [
        404,
        404,
    ]
    assert (await console.client.post("/v1/leaks", json=[])).status_code == 404


@pytest.mark.bound("leaks.schemas:REPORTS_MAX")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "must be an array"),
        (b'[{"token": 5}]', "must be a string"),
        (b"[{}]", "is missing"),
        (b"\xff", "is not UTF-8 text"),
        (json.dumps([{"token": "x"}] * 201).encode(), "has too many items"),
        (json.dumps([{"token": "x" * 2001}]).encode(), "is too long"),
    ],
)
async def test_malformed_signed_report_is_400(start: Start, body: bytes, message: str) -> None:
    reply = await start().github(body)
    assert (reply.status_code, reply.json()["errors"][0]["message"]) == (400, message)


async def test_report_above_the_size_limit_is_413(start: Start) -> None:
    assert (await start().github(b" " * 65_537)).status_code == 413


async def test_unknown_report_members_are_ignored(start: Start) -> None:
    reporter = start("notify")
    created = await reporter.console.create()
    reply = await reporter.github([{**report(created["token"]), "unknown_member": {"a": [1]}}])
    assert reply.json()[0]["label"] == "true_positive"


async def test_openapi_documents_the_report_schema(console: Any) -> None:
    paths = (await console.client.get("/openapi.json")).json()["paths"]
    for path in ("/v1/leaks", "/v1/leaks/github"):
        operation = paths[path]["post"]
        assert operation["security"] == [{"signed": []}]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "array"
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["examples"]


async def test_purge_deletes_leak_locations(start: Start) -> None:
    reporter = start("revoke")
    created = await reporter.console.create()
    key_id = created["key"]["id"]
    await reporter.webhook([report(created["token"])])
    assert (
        await reporter.console.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    ).status_code == 200
    assert (
        reporter.console.database.sql(f"SELECT count(*) FROM key_leak WHERE key_id = '{key_id}'")  # noqa: S608
        == "0"
    )
