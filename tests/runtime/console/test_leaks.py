"""Reports of keys that were found in public: signed by GitHub or by another scanner, acted on as the deployment says."""

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
from gatehouse.console import asgi as console
from gatehouse.keys.routes import key_service
from gatehouse.leaks.reporters import LeakReporters
from gatehouse.leaks.repository import PLACES_MAX, LeakRepository
from gatehouse.leaks.service import LeakService
from gatehouse.notifications import webhook_signatures as webhook

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = bytes(range(32))
URL = "https://github.com/octocat/Hello-World/blob/main/config.yml"


@dataclasses.dataclass
class Intake:
    """A console that takes reports, and reporters that sign them."""

    door: Any
    client: httpx.AsyncClient

    async def github(self, reports: Any, *, signed: bytes | None = None, identifier: str = "one") -> httpx.Response:
        body = reports if isinstance(reports, bytes) else json.dumps(reports).encode()
        made = PRIVATE.sign(body if signed is None else signed, ec.ECDSA(hashes.SHA256()))
        headers = {
            "Github-Public-Key-Identifier": identifier,
            "Github-Public-Key-Signature": base64.b64encode(made).decode(),
        }
        return await self.client.post("/v1/leaks/github", content=body, headers=headers)

    async def webhook(self, reports: Any, *, secret: bytes = SECRET, ahead_s: int = 0) -> httpx.Response:
        body, at = json.dumps(reports).encode(), int(self.door.parts.clock.now()) + ahead_s
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(at),
            "webhook-signature": webhook.sign(secret, "msg_1", at, body),
        }
        return await self.client.post("/v1/leaks", content=body, headers=headers)

    async def state(self, key_id: str) -> str:
        return str((await self.door.client.get(f"/v1/keys/{key_id}")).json()["state"])

    async def told(self, key_id: str) -> list[Any]:
        query = f"/v1/audit-events?target_id={key_id}&action=key.leak"
        return [event["details"] for event in (await self.door.client.get(query)).json()["events"]]


Open = Callable[..., Intake]


@pytest.fixture
async def take(door: Any) -> AsyncIterator[Open]:
    """Opens a console with an action and an address; without keys and secret, whose reports are taken by nobody."""
    opened: list[httpx.AsyncClient] = []

    def begin(action: Any = "disable", *, address: str = "192.0.2.9", keys: Any = None, secret: bytes | None = SECRET) -> Intake:
        parts = door.parts
        desk = LeakService(key_service(parts), LeakRepository(door.pool), parts.clock, action)
        known = {"one": PRIVATE.public_key()} if keys is None else keys
        app = console.create(dataclasses.replace(parts, leaks=LeakReporters(desk, known, secret)))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4711)), base_url="https://console.test")
        opened.append(client)
        return Intake(door, client)

    yield begin
    await asyncio.gather(*(client.aclose() for client in opened))


def report(token: str, **more: str) -> dict[str, str]:
    return {"token": token, "type": "gatehouse_api_key", "url": URL, "source": "content", **more}


def hashed(token: str) -> str:
    return base64.b64encode(hashlib.sha256(token.encode()).digest()).decode()


@pytest.mark.requirement("CG-14")
async def test_a_key_that_github_found_is_disabled_told_and_labelled(take: Open) -> None:
    intake = take()
    made = await intake.door.create(owner="billing")
    token, key_id = made["token"], made["key"]["id"]
    reply = await intake.github([report(token), report("gtk_test_" + "0" * 61)])
    assert reply.status_code == 200, reply.text
    assert reply.json() == [
        {"token_hash": hashed(token), "token_type": "gatehouse_api_key", "label": "true_positive"},
        {"token_hash": hashed("gtk_test_" + "0" * 61), "token_type": "gatehouse_api_key", "label": "false_positive"},
    ]
    assert await intake.state(key_id) == "disabled"
    assert await intake.told(key_id) == [
        {"url": URL, "source": "content", "action": "disable", "state": "active", "name": "a key", "owner": "billing"}
    ]


@pytest.mark.parametrize(("action", "state"), [("notify", "active"), ("disable", "disabled"), ("revoke", "revoked")])
async def test_the_action_is_the_deployments(take: Open, action: str, state: str) -> None:
    intake = take(action)
    made = await intake.door.create()
    assert (await intake.webhook([report(made["token"])])).json()[0]["label"] == "true_positive"
    assert await intake.state(made["key"]["id"]) == state
    assert len(await intake.told(made["key"]["id"])) == 1


async def test_a_leak_is_told_to_webhooks(take: Open) -> None:
    intake = take("notify")
    hook = {"url": "https://hooks.example.com/x", "events": ["key.leaked"]}
    assert (await intake.door.client.post("/v1/webhooks", json=hook)).status_code == 201
    parts = intake.door.parts
    while await parts.notifications.follow(now=parts.clock.now(), topic=False):
        pass
    made = await intake.door.create()
    await intake.webhook([report(made["token"])])
    while await parts.notifications.follow(now=parts.clock.now(), topic=False):
        pass
    waiting = await parts.notifications.deliveries(state="waiting", after=("", ""), size=10)
    assert [(one.event, json.loads(one.body)["data"]["key_id"]) for one in waiting] == [("key.leaked", made["key"]["id"])]
    assert made["token"] not in waiting[0].body


async def test_the_same_find_is_told_once_and_another_place_again(take: Open) -> None:
    intake = take("notify")
    made = await intake.door.create()
    for url in (URL, URL, URL + "#L9"):
        assert (await intake.webhook([report(made["token"], url=url)])).json()[0]["label"] == "true_positive"
    assert [one["url"] for one in await intake.told(made["key"]["id"])] == [URL + "#L9", URL]


async def test_a_key_is_not_told_of_without_end(take: Open) -> None:
    intake = take("notify")
    made = await intake.door.create()
    reports = [report(made["token"], url=f"https://a.example/{number}") for number in range(PLACES_MAX + 5)]
    assert (await intake.webhook(reports)).status_code == 200
    places = f"SELECT count(*) FROM key_leak WHERE key_id = '{made['key']['id']}'"  # noqa: S608
    assert intake.door.database.sql(places) == str(PLACES_MAX)


async def test_a_wrong_secret_of_a_known_id_is_answered_like_an_unknown_key(take: Open) -> None:
    intake = take("revoke")
    known, stranger = await intake.door.create(), await intake.door.create()
    intake.door.database.sql(f"UPDATE api_key SET digest = decode(repeat('00', 32), 'hex') WHERE id = '{known['key']['id']}'")  # noqa: S608
    intake.door.database.sql(f"DELETE FROM api_key WHERE id = '{stranger['key']['id']}'")  # noqa: S608
    labels = (await intake.webhook([report(known["token"]), report(stranger["token"])])).json()
    assert [one["label"] for one in labels] == ["false_positive", "false_positive"]
    assert await intake.state(known["key"]["id"]) == "active"


async def test_a_revoked_or_deleted_key_is_a_true_positive_and_stays_what_it_is(take: Open) -> None:
    intake = take("disable")
    revoked, deleted = await intake.door.create(), await intake.door.create()
    await intake.door.client.post(f"/v1/keys/{revoked['key']['id']}/revoke", json={})
    await intake.door.client.request("DELETE", f"/v1/keys/{deleted['key']['id']}", json={})
    labels = (await intake.webhook([report(revoked["token"]), report(deleted["token"])])).json()
    assert [one["label"] for one in labels] == ["true_positive", "true_positive"]
    assert [await intake.state(one["key"]["id"]) for one in (revoked, deleted)] == ["revoked", "deleted"]


async def test_the_last_key_that_manages_is_ended_too_when_it_leaks(take: Open) -> None:
    intake = take("disable")
    intake.door.database.sql("UPDATE api_key SET state = 'disabled' WHERE state = 'active'")
    made = await intake.door.create(roles=["admin"])
    await intake.webhook([report(made["token"])])
    assert await intake.state(made["key"]["id"]) == "disabled"


async def test_no_token_is_kept_where_a_stranger_wrote_it(take: Open) -> None:
    intake = take("notify")
    made = await intake.door.create()
    token = made["token"]
    await intake.webhook([report(token, url=f"https://paste.example/{token}\n?k={token}", source=token)])
    (told,) = await intake.told(made["key"]["id"])
    assert told["url"].startswith("https://paste.example/gtk_test_")
    everything = json.dumps(told) + str(intake.door.lines.kept)
    assert token not in everything
    assert "\n" not in told["url"]


@pytest.mark.parametrize("case", ["another body", "another key", "no signature", "another secret", "old"])
async def test_an_unsigned_report_learns_nothing_and_changes_nothing(take: Open, case: str) -> None:
    intake = take("revoke")
    made = await intake.door.create()
    reports = [report(made["token"])]
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
    assert made["token"] not in answers[case].text
    assert await intake.state(made["key"]["id"]) == "active"


async def test_an_address_that_guesses_signatures_is_not_heard_for_a_while_and_others_are(take: Open) -> None:
    intake = take("notify")
    for _ in range(10):
        assert (await intake.webhook([], secret=bytes(32))).status_code == 401
    locked = await intake.webhook([])
    assert (locked.status_code, locked.json()["code"]) == (429, "rate_limited")
    assert int(locked.headers["retry-after"]) > 0
    assert (await take("notify", address="198.51.100.1").webhook([])).status_code == 200


async def test_without_pinned_keys_and_secret_there_is_nothing_to_report_to(take: Open, door: Any) -> None:
    closed = take("revoke", keys={}, secret=None)
    assert [(await closed.github([])).status_code, (await closed.webhook([])).status_code] == [404, 404]
    assert (await door.client.post("/v1/leaks", json=[])).status_code == 404


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
async def test_a_signed_body_that_is_no_report_is_a_bad_request(take: Open, body: bytes, message: str) -> None:
    reply = await take().github(body)
    assert (reply.status_code, reply.json()["errors"][0]["message"]) == (400, message)


async def test_a_report_beyond_the_bound_is_not_read(take: Open) -> None:
    assert (await take().github(b" " * 65_537)).status_code == 413


async def test_githubs_other_members_are_passed_over(take: Open) -> None:
    intake = take("notify")
    made = await intake.door.create()
    reply = await intake.github([{**report(made["token"]), "of_tomorrow": {"a": [1]}}])
    assert reply.json()[0]["label"] == "true_positive"


async def test_the_openapi_document_says_the_form_of_reports(door: Any) -> None:
    paths = (await door.client.get("/openapi.json")).json()["paths"]
    for path in ("/v1/leaks", "/v1/leaks/github"):
        operation = paths[path]["post"]
        assert operation["security"] == [{"signed": []}]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "array"
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["examples"]


async def test_a_purge_forgets_where_a_key_was_found(take: Open) -> None:
    intake = take("revoke")
    made = await intake.door.create()
    key_id = made["key"]["id"]
    await intake.webhook([report(made["token"])])
    assert (await intake.door.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})).status_code == 200
    assert intake.door.database.sql(f"SELECT count(*) FROM key_leak WHERE key_id = '{key_id}'") == "0"  # noqa: S608
