"""Honey links: they reveal nothing, and every use is in the audit trail, the notifications and the log."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse.audit.models import AuditAction
from gatehouse.notifications.repository import NotificationRepository
from gatehouse.observability import Observer, Stream
from gatehouse.sharing.app import create
from gatehouse.sharing.denials import ATTEMPT_WINDOW_S, NETWORK_DENIED_MAX, LinkNotFound, TooManyDenied
from gatehouse.sharing.link_token import LinkToken
from gatehouse.sharing.links import HONEY_EVENT, LinkService
from gatehouse.sharing.models import HONEY_EVENT_S
from gatehouse.sharing.service import SecretSharing
from gatehouse.sharing.worker import SecretWorker

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, assert_problem, open_console
from tests.runtime.sharing.readers import OPENING, in_container
from tests.runtime.sharing.services import ACTOR, CLIENT, Sharing
from tests.runtime.sharing.test_routes import member

pytestmark = pytest.mark.requirement("SS-05")
URL = "https://sharing.test"


@pytest.fixture
async def console(database: Database, sharing: Sharing) -> AsyncIterator[Console]:
    management = SecretSharing(sharing.secrets, URL, 1000, sharing.requests)
    async with open_console(database, clock=sharing.clock, sharing=management) as started:
        yield started


async def _honey(sharing: Sharing, **values: Any) -> LinkToken:
    _, [token] = await sharing.create(items=[], honey=True, **values)
    return token


async def _uses(sharing: Sharing, token: LinkToken) -> list[str]:
    """Uses of the honey link, from the stored events."""
    _, events = await sharing.backend.table.with_events(token.secret_id) or ({}, [])
    return [str(e.audit_event.details["use"]) for e in events if e.audit_event.action == AuditAction.LINK_HONEY]


async def test_honey_link_is_created_and_reports_its_use(console: Console, sharing: Sharing) -> None:
    sender = await member(console)
    reply = await sender.send("POST", "", {"honey": True, "label": "wiki", "ttl_s": 2_592_000})
    assert (reply.status_code, reply.json()["secret"]["honey"]) == (201, True)
    secret, url = reply.json()["secret"], reply.json()["links"][0]["url"]
    hook = {"url": "https://example.com/hook", "events": ["secret.honey_used"]}
    assert (await console.client.post("/v1/webhooks", json=hook)).status_code == 201
    notifications = NotificationRepository(console.pool)
    await notifications.follow(now=sharing.clock.now(), topic=False)  # notifications begin with the next event
    message = OPENING["/v1/links/open"](_token(url), "c" * 32)
    app = sharing.app()
    assert (await in_container(app, message)).status_code == 404
    await SecretWorker(sharing.backend, console.pool, None, Observer("console", "error", "test")).run_once()
    rows = await console.pool.fetch("SELECT action, outcome FROM audit_event WHERE target_id = $1 ORDER BY seq", secret["id"])
    assert [tuple(row) for row in rows] == [("secret.create", "success"), ("link.honey", "denied")]
    while await notifications.follow(now=sharing.clock.now(), topic=False):
        pass
    delivered = await console.pool.fetch("SELECT event, body FROM delivery")
    assert [(row["event"], url.partition("#")[2] in row["body"]) for row in delivered] == [("secret.honey_used", False)]
    receipt = (await sender.send("GET", f"/{secret['id']}/receipt")).json()
    assert [link["denied_attempts"] for link in receipt["links"]] == [1]


def _token(url: str) -> LinkToken:
    path, _, link_secret = url.rpartition("/")[2].partition("#")
    return LinkToken(path[:22], path[22:], link_secret)


@pytest.mark.parametrize(
    "content", [{"text": "x"}, {"files": [{"name": "a", "content_base64": "eA=="}]}, {"passphrase": "a long passphrase"}]
)
async def test_honey_links_have_no_content(console: Console, sharing: Sharing, content: dict[str, Any]) -> None:
    sender = await member(console)
    message = "must not combine honey with text, files, ciphertext_base64 or passphrase"
    assert_problem(await sender.send("POST", "", {"honey": True, **content}), 400, "body", message)
    honey = (await sender.send("POST", "", {"honey": True})).json()["secret"]
    reply = await sender.send("PUT", f"/{honey['id']}/content", {"text": "x"}, **{"If-Match": "*"})
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_honey_link_requires_the_scope_to_create(console: Console) -> None:
    reader = await member(console, "secrets:read")
    assert (await reader.send("POST", "", {"honey": True})).status_code == 403


async def test_every_request_is_logged_and_one_per_minute_recorded(sharing: Sharing) -> None:
    log = io.BytesIO()
    observer = Observer("sharing", "error", "test", Stream(log))  # the line is written at every log level
    app: Any = create(probes=[], observer=observer, https=True, links=LinkService(sharing.backend, observer))
    token = await _honey(sharing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL, trust_env=False) as client:
        assert [(await client.request(method, f"/s/{token.path}")).status_code for method in ("GET", "HEAD")] == [404, 404]
    assert await _uses(sharing, token) == ["page"]
    for make in OPENING.values():
        assert (await in_container(app, make(token, "c" * 32))).status_code == 404
    assert await _uses(sharing, token) == ["page"]
    sharing.clock.advance(HONEY_EVENT_S)
    assert (await in_container(app, OPENING["/v1/links/open"](token, "c" * 32))).status_code == 404
    assert await _uses(sharing, token) == ["page", "complete link"]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    used = [line for line in lines if line["event"] == HONEY_EVENT]
    assert [line["use"] for line in used] == ["page", "page", *["complete link"] * 5]
    assert {(line["service"], line["secret"], line["link"]) for line in used} == {("sharing", token.secret_id, token.link_id)}
    assert token.secret not in log.getvalue().decode()


async def test_use_is_recorded_when_the_network_is_above_its_limit(sharing: Sharing) -> None:
    token, client = await _honey(sharing), replace(CLIENT, address="192.0.2.1")
    for _ in range(NETWORK_DENIED_MAX):
        counter = "denied:network:192.0.2.0/24"
        await sharing.backend.table.take_attempt(
            counter, limit=NETWORK_DENIED_MAX, window_s=ATTEMPT_WINDOW_S, now=sharing.clock.now()
        )
    with pytest.raises(TooManyDenied):
        await sharing.open(token, client=client)
    assert await _uses(sharing, token) == ["complete link"]


async def test_ended_honey_link_reports_nothing(sharing: Sharing) -> None:
    revoked, expired = await _honey(sharing), await _honey(sharing, ttl_s=300.0)
    await sharing.secrets.revoke(revoked.secret_id, ACTOR)
    sharing.clock.advance(300)
    for token in (revoked, expired):
        with pytest.raises(LinkNotFound):
            await sharing.links.find(token.path, CLIENT)
        with pytest.raises(LinkNotFound):
            await sharing.open(token)
        assert await _uses(sharing, token) == []
