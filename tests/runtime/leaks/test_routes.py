"""Leak reports from GitHub and other scanners: signatures, actions and notifications."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.console import asgi as console_asgi
from gatehouse.keys.routes import key_service
from gatehouse.leaks.reporters import LeakReporters
from gatehouse.leaks.service import PLACES_MAX, LeakRepository, LeakService
from gatehouse.notifications import webhook_signatures as webhook

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = bytes(range(32))
URL = "https://github.com/octocat/Hello-World/blob/main/config.yml"


@dataclasses.dataclass
class Intake:
    """A console that accepts leak reports, and a reporter that signs them."""

    console: Any
    client: httpx.AsyncClient

    async def github(self, reports: Any, *, signed: bytes | None = None, identifier: str = "one") -> httpx.Response:
        body = reports if isinstance(reports, bytes) else json.dumps(reports).encode()
        created = PRIVATE.sign(body if signed is None else signed, ec.ECDSA(hashes.SHA256()))
        headers = {
            "Github-Public-Key-Identifier": identifier,
            "Github-Public-Key-Signature": base64.b64encode(created).decode(),
        }
        return await self.client.post("/v1/leaks/github", content=body, headers=headers)

    async def webhook(self, reports: Any, *, secret: bytes = SECRET, ahead_s: int = 0) -> httpx.Response:
        body, at = json.dumps(reports).encode(), int(self.console.dependencies.clock.now()) + ahead_s
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(at),
            "webhook-signature": webhook.sign(secret, "msg_1", at, body),
        }
        return await self.client.post("/v1/leaks", content=body, headers=headers)

    async def state(self, key_id: str) -> str:
        return str((await self.console.client.get(f"/v1/keys/{key_id}")).json()["state"])

    async def notifications(self, key_id: str) -> list[Any]:
        query = f"/v1/audit-events?target_id={key_id}&action=key.leak"
        return [event["details"] for event in (await self.console.client.get(query)).json()["events"]]


Open = Callable[..., Intake]


@pytest.fixture
async def take(console: Any) -> AsyncIterator[Open]:
    """Starts a console with a leak action and a client address. Without keys and secret, it accepts no reports."""
    opened: list[httpx.AsyncClient] = []

    def begin(action: Any = "disable", *, address: str = "192.0.2.9", keys: Any = None, secret: bytes | None = SECRET) -> Intake:
        dependencies = console.dependencies
        service = LeakService(key_service(dependencies), LeakRepository(console.pool), dependencies.clock, action)
        known = {"one": PRIVATE.public_key()} if keys is None else keys
        app = console_asgi.create(dataclasses.replace(dependencies, leaks=LeakReporters(service, known, secret)))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4711)), base_url="https://console.test")
        opened.append(client)
        return Intake(console, client)

    yield begin
    await asyncio.gather(*(client.aclose() for client in opened))


def report(token: str, **more: str) -> dict[str, str]:
    return {"token": token, "type": "gatehouse_api_key", "url": URL, "source": "content", **more}


def hashed(token: str) -> str:
    return base64.b64encode(hashlib.sha256(token.encode()).digest()).decode()


@pytest.mark.requirement("CG-14")
async def test_reported_key_is_disabled_notified_and_labelled(take: Open) -> None:
    intake = take()
    created = await intake.console.create(owner="billing")
    token, key_id = created["token"], created["key"]["id"]
    reply = await intake.github([report(token), report("gtk_test_" + "0" * 61)])
    assert reply.status_code == 200, reply.text
    assert reply.json() == [
        {"token_hash": hashed(token), "token_type": "gatehouse_api_key", "label": "true_positive"},
        {"token_hash": hashed("gtk_test_" + "0" * 61), "token_type": "gatehouse_api_key", "label": "false_positive"},
    ]
    assert await intake.state(key_id) == "disabled"
    assert await intake.notifications(key_id) == [
        {"url": URL, "source": "content", "action": "disable", "state": "active", "name": "a key", "owner": "billing"}
    ]


@pytest.mark.parametrize(("action", "state"), [("notify", "active"), ("disable", "disabled"), ("revoke", "revoked")])
async def test_leak_action_follows_the_setting(take: Open, action: str, state: str) -> None:
    intake = take(action)
    created = await intake.console.create()
    assert (await intake.webhook([report(created["token"])])).json()[0]["label"] == "true_positive"
    assert await intake.state(created["key"]["id"]) == state
    assert len(await intake.notifications(created["key"]["id"])) == 1


async def test_leak_is_sent_to_webhooks(take: Open) -> None:
    intake = take("notify")
    hook = {"url": "https://hooks.example.com/x", "events": ["key.leaked"]}
    assert (await intake.console.client.post("/v1/webhooks", json=hook)).status_code == 201
    dependencies = intake.console.dependencies
    while await dependencies.notifications.follow(now=dependencies.clock.now(), topic=False):
        pass
    created = await intake.console.create()
    await intake.webhook([report(created["token"])])
    while await dependencies.notifications.follow(now=dependencies.clock.now(), topic=False):
        pass
    waiting = await dependencies.notifications.deliveries(state="waiting", after=("", ""), size=10)
    assert [(item.event, json.loads(item.body)["data"]["key_id"]) for item in waiting] == [("key.leaked", created["key"]["id"])]
    assert created["token"] not in waiting[0].body


async def test_leak_is_notified_once_per_location(take: Open) -> None:
    intake = take("notify")
    created = await intake.console.create()
    for url in (URL, URL, URL + "#L9"):
        assert (await intake.webhook([report(created["token"], url=url)])).json()[0]["label"] == "true_positive"
    assert [item["url"] for item in await intake.notifications(created["key"]["id"])] == [URL + "#L9", URL]


async def test_leak_notifications_per_key_are_bounded(take: Open) -> None:
    intake = take("notify")
    created = await intake.console.create()
    reports = [report(created["token"], url=f"https://a.example/{number}") for number in range(PLACES_MAX + 5)]
    assert (await intake.webhook(reports)).status_code == 200
    places = f"SELECT count(*) FROM key_leak WHERE key_id = '{created['key']['id']}'"  # noqa: S608
    assert intake.console.database.sql(places) == str(PLACES_MAX)


async def test_known_id_with_wrong_secret_is_a_false_positive(take: Open) -> None:
    intake = take("revoke")
    known, stranger = await intake.console.create(), await intake.console.create()
    intake.console.database.sql(f"UPDATE api_key SET digest = decode(repeat('00', 32), 'hex') WHERE id = '{known['key']['id']}'")  # noqa: S608
    intake.console.database.sql(f"DELETE FROM api_key WHERE id = '{stranger['key']['id']}'")  # noqa: S608
    labels = (await intake.webhook([report(known["token"]), report(stranger["token"])])).json()
    assert [item["label"] for item in labels] == ["false_positive", "false_positive"]
    assert await intake.state(known["key"]["id"]) == "active"


async def test_revoked_or_deleted_key_is_a_true_positive(take: Open) -> None:
    intake = take("disable")
    revoked, deleted = await intake.console.create(), await intake.console.create()
    await intake.console.client.post(f"/v1/keys/{revoked['key']['id']}/revoke", json={})
    await intake.console.client.request("DELETE", f"/v1/keys/{deleted['key']['id']}", json={})
    labels = (await intake.webhook([report(revoked["token"]), report(deleted["token"])])).json()
    assert [item["label"] for item in labels] == ["true_positive", "true_positive"]
    assert [await intake.state(item["key"]["id"]) for item in (revoked, deleted)] == ["revoked", "deleted"]


async def test_leaked_last_admin_key_is_disabled(take: Open) -> None:
    intake = take("disable")
    intake.console.database.sql("UPDATE api_key SET state = 'disabled' WHERE state = 'active'")
    created = await intake.console.create(roles=["admin"])
    await intake.webhook([report(created["token"])])
    assert await intake.state(created["key"]["id"]) == "disabled"


async def test_token_in_a_report_is_not_stored(take: Open) -> None:
    intake = take("notify")
    created = await intake.console.create()
    token = created["token"]
    await intake.webhook([report(token, url=f"https://paste.example/{token}\n?k={token}", source=token)])
    (expected,) = await intake.notifications(created["key"]["id"])
    assert expected["url"].startswith("https://paste.example/gtk_test_")
    everything = json.dumps(expected) + str(intake.console.log.entries)
    assert token not in everything
    assert "\n" not in expected["url"]


@pytest.mark.parametrize("case", ["another body", "another key", "no signature", "another secret", "old"])
async def test_unsigned_report_is_denied(take: Open, case: str) -> None:
    intake = take("revoke")
    created = await intake.console.create()
    reports = [report(created["token"])]
    reply = {
        "another body": intake.github(reports, signed=b"[]"),
        "another key": intake.github(reports, identifier="two"),
        "no signature": intake.client.post("/v1/leaks/github", json=reports),
        "another secret": intake.webhook(reports, secret=bytes(32)),
        "old": intake.webhook(reports, ahead_s=-301),
    }
    answers = {name: await coming for name, coming in reply.items() if name == case or coming.close()}
    assert answers[case].status_code == 401
    assert answers[case].json()["detail"] == "The signature is not from a configured reporter."
    assert created["token"] not in answers[case].text
    assert await intake.state(created["key"]["id"]) == "active"


async def test_guessed_signatures_lock_out_their_address(take: Open) -> None:
    intake = take("notify")
    for _ in range(10):
        assert (await intake.webhook([], secret=bytes(32))).status_code == 401
    locked = await intake.webhook([])
    assert (locked.status_code, locked.json()["code"]) == (429, "rate_limited")
    assert int(locked.headers["retry-after"]) > 0
    assert (await take("notify", address="198.51.100.1").webhook([])).status_code == 200


async def test_unconfigured_report_endpoint_is_404(take: Open, console: Any) -> None:
    closed = take("revoke", keys={}, secret=None)
    assert [(await closed.github([])).status_code, (await closed.webhook([])).status_code] == [404, 404]
    assert (await console.client.post("/v1/leaks", json=[])).status_code == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "must be an array"),
        (b'[{"token": 5}]', "must be a string"),
        (b"[{}]", "is missing"),
        (b"\xff", "is not valid JSON"),
        (json.dumps([{"token": "x"}] * 201).encode(), "has too many items"),
        (json.dumps([{"token": "x" * 2001}]).encode(), "is too long"),
    ],
)
async def test_malformed_signed_report_is_400(take: Open, body: bytes, message: str) -> None:
    reply = await take().github(body)
    assert (reply.status_code, reply.json()["errors"][0]["message"]) == (400, message)


async def test_report_above_the_size_limit_is_413(take: Open) -> None:
    assert (await take().github(b" " * 65_537)).status_code == 413


async def test_unknown_report_members_are_ignored(take: Open) -> None:
    intake = take("notify")
    created = await intake.console.create()
    reply = await intake.github([{**report(created["token"]), "of_tomorrow": {"a": [1]}}])
    assert reply.json()[0]["label"] == "true_positive"


async def test_openapi_documents_the_report_schema(console: Any) -> None:
    paths = (await console.client.get("/openapi.json")).json()["paths"]
    for path in ("/v1/leaks", "/v1/leaks/github"):
        operation = paths[path]["post"]
        assert operation["security"] == [{"signed": []}]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "array"
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["examples"]


async def test_purge_deletes_leak_locations(take: Open) -> None:
    intake = take("revoke")
    created = await intake.console.create()
    key_id = created["key"]["id"]
    await intake.webhook([report(created["token"])])
    assert (await intake.console.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})).status_code == 200
    assert intake.console.database.sql(f"SELECT count(*) FROM key_leak WHERE key_id = '{key_id}'") == "0"  # noqa: S608
