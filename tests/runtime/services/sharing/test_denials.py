"""Denied attempts: outsiders cannot distinguish why a link is denied, and nobody can lock out
another user.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from gatehouse.core.actor import RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.sharing import denials
from gatehouse.features.sharing.denials import (
    ATTEMPT_WINDOW_S,
    NETWORK_DENIED_MAX,
    LinkNotFound,
    TooManyDenied,
)
from gatehouse.features.sharing.link_token import LinkToken, SubmissionToken
from gatehouse.features.sharing.models import Client
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.services.sharing.form_protection import new_nonce

from tests.runtime.features.sharing.aws_calls import recorded
from tests.runtime.features.sharing.requests.test_submissions import request, submit
from tests.runtime.features.sharing.services import ACTOR, CLIENT, TABLE, TEXT, Sharing

pytestmark = pytest.mark.requirement("SS-05")
ORIGIN = "https://share.test"
PASSPHRASE = "a long passphrase"
LIFETIME_S = 3600.0
ADDRESS, NETWORK = "203.0.113.9", "203.0.113.0/24"
_VARYING = frozenset({"x-request-id", "date"})
Make = Callable[[Sharing], Awaitable[LinkToken]]
MakeSubmission = Callable[[Sharing], Awaitable[SubmissionToken]]


@pytest.fixture(autouse=True)
def _no_attempts(sharing: Sharing) -> None:
    """Delete the counter of denied attempts from the network of `_observed`."""
    _count(sharing, NETWORK, 0)


@dataclass(frozen=True)
class Observed:
    """What an outsider can see of a response, and the AWS calls that determine its time."""

    status: int
    body: str
    headers: list[tuple[str, str]]
    calls: list[str]


#: Sends a request with a link.
Send = Callable[[Sharing, LinkToken], Awaitable[Observed]]


async def _observed(sharing: Sharing, method: str, path: str, **body: Any) -> Observed:
    app: Any = sharing.app()
    transport = httpx.ASGITransport(app, client=(ADDRESS, 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        with recorded(sharing) as calls:
            reply = await client.request(method, path, **body)
    headers = [(name, value) for name, value in reply.headers.items() if name not in _VARYING]
    request_id = reply.headers["x-request-id"]
    text = reply.text.replace(request_id, "<request ID>").replace(
        trace_id_of(request_id), "<trace ID>"
    )
    return Observed(reply.status_code, text, headers, calls)


async def _unknown(sharing: Sharing) -> LinkToken:
    backend = sharing.backend
    return LinkToken.create(backend.new_id(), backend.new_id(6), backend.random_bytes)


async def _unknown_link_of_a_secret(sharing: Sharing) -> LinkToken:
    _, [token] = await sharing.create(ttl_s=LIFETIME_S)
    return msgspec.structs.replace(token, link_id=sharing.backend.new_id(6))


async def _wrong_link_secret(sharing: Sharing) -> LinkToken:
    _, [token] = await sharing.create(ttl_s=LIFETIME_S)
    return msgspec.structs.replace(token, secret=(await _unknown(sharing)).secret)


async def _expired(sharing: Sharing) -> LinkToken:
    _, [token] = await sharing.create(ttl_s=300.0)
    sharing.clock.advance(300)
    return token


async def _revoked(sharing: Sharing) -> LinkToken:
    secret, [token] = await sharing.create()
    await sharing.secrets.revoke(secret.id, ACTOR)
    return token


async def _revoked_link(sharing: Sharing) -> LinkToken:
    secret, [token, _] = await sharing.create(recipients=("Grace", "Alan"))
    await sharing.secrets.revoke_link(secret.id, token.link_id, ACTOR)
    return token


async def _used(sharing: Sharing) -> LinkToken:
    _, [token] = await sharing.create()
    await sharing.open(token)
    return token


async def _acknowledged(sharing: Sharing) -> LinkToken:
    _, [token] = await sharing.create()
    opened = await sharing.open(token)
    await sharing.links.acknowledge(token, opened.claim_id, CLIENT)
    return token


DENIED_LINKS: list[Make] = [
    _unknown_link_of_a_secret,
    _expired,
    _revoked,
    _revoked_link,
    _used,
    _acknowledged,
]


async def _page(sharing: Sharing, token: LinkToken) -> Observed:
    return await _observed(sharing, "GET", f"/s/{token.path}")


def _form(suffix: str) -> Send:
    async def send(sharing: Sharing, token: LinkToken) -> Observed:
        nonce = new_nonce()
        fields = {
            "csrf": nonce,
            "claim": new_nonce(),
            "link": token.url(ORIGIN),
            "passphrase": PASSPHRASE,
        }
        headers = {"Cookie": f"__Host-csrf={nonce}", "Sec-Fetch-Site": "same-origin"}
        return await _observed(
            sharing, "POST", f"/s/{token.path}{suffix}", data=fields, headers=headers
        )

    return send


def _api(action: str, *fields: str) -> Send:
    async def send(sharing: Sharing, token: LinkToken) -> Observed:
        values = {"passphrase": PASSPHRASE, "claim": new_nonce()}
        body = {"link": token.url(ORIGIN), **{field: values[field] for field in fields}}
        return await _observed(sharing, "POST", f"/v1/links/{action}", json=body)

    return send


#: Requests with a complete link.
COMPLETE: dict[str, Send] = {
    "POST /s/{link}": _form(""),
    "POST /s/{link}/items/{item:int}": _form("/items/0"),
    "POST /s/{link}/acknowledge": _form("/acknowledge"),
    "POST /v1/links/lookup": _api("lookup"),
    "POST /v1/links/open": _api("open", "passphrase", "claim"),
    "POST /v1/links/acknowledge": _api("acknowledge", "claim"),
}


@pytest.mark.parametrize("endpoint", COMPLETE)
async def test_denied_links_have_the_same_response_and_calls(
    sharing: Sharing, endpoint: str
) -> None:
    send = COMPLETE[endpoint]
    expected = await send(sharing, await _unknown(sharing))
    assert (expected.status, expected.calls) == (404, ["GetItem", *["UpdateItem"] * 3])
    for make in (*DENIED_LINKS, _wrong_link_secret):
        assert await send(sharing, await make(sharing)) == expected, make.__name__


async def test_pages_of_denied_links_have_the_same_response_and_calls(sharing: Sharing) -> None:
    expected = await _page(sharing, await _unknown(sharing))
    assert (expected.status, expected.calls) == (404, ["GetItem"])
    for make in DENIED_LINKS:
        assert await _page(sharing, await make(sharing)) == expected, make.__name__


async def _unknown_request(sharing: Sharing) -> SubmissionToken:
    return SubmissionToken.create(sharing.backend.new_id(), sharing.backend.random_bytes)


async def _wrong_request_secret(sharing: Sharing) -> SubmissionToken:
    _, token, _ = await request(sharing)
    return msgspec.structs.replace(token, secret=(await _unknown_request(sharing)).secret)


async def _expired_request(sharing: Sharing) -> SubmissionToken:
    _, token, _ = await request(sharing, ttl_s=300)
    sharing.clock.advance(300)
    return token


async def _revoked_request(sharing: Sharing) -> SubmissionToken:
    created, token, _ = await request(sharing)
    await sharing.requests.revoke(created.id, ACTOR)
    return token


async def _used_request(sharing: Sharing) -> SubmissionToken:
    _, token, _ = await request(sharing)
    await submit(sharing, token)
    return token


DENIED_REQUESTS: list[MakeSubmission] = [_expired_request, _revoked_request, _used_request]


async def _submission(sharing: Sharing, token: SubmissionToken) -> Observed:
    return await _observed(
        sharing,
        "POST",
        "/v1/requests/submit",
        files={"link": (None, token.url(ORIGIN)), "text": (None, "x")},
    )


async def _submitted_form(sharing: Sharing, token: SubmissionToken) -> Observed:
    nonce = new_nonce()
    fields = {
        "csrf": nonce,
        "submission": new_nonce(),
        "link": token.url(ORIGIN),
        "text": "x",
    }
    headers = {"Cookie": f"__Host-csrf={nonce}", "Sec-Fetch-Site": "same-origin"}
    files = {name: (None, value) for name, value in fields.items()}
    return await _observed(sharing, "POST", f"/r/{token.path}", files=files, headers=headers)


SUBMITTING: list[Any] = [_submission, _submitted_form]


@pytest.mark.parametrize("send", SUBMITTING)
async def test_denied_requests_have_the_same_response_and_calls(
    sharing: Sharing, send: Any
) -> None:
    expected = await send(sharing, await _unknown_request(sharing))
    assert expected.status == 404
    for make in (*DENIED_REQUESTS, _wrong_request_secret):
        assert await send(sharing, await make(sharing)) == expected, make.__name__


async def test_pages_of_denied_requests_have_the_same_response_and_calls(sharing: Sharing) -> None:
    expected = await _observed(sharing, "GET", f"/r/{(await _unknown_request(sharing)).path}")
    assert expected.status == 404
    for make in DENIED_REQUESTS:
        assert await _observed(sharing, "GET", f"/r/{(await make(sharing)).path}") == expected, (
            make.__name__
        )


def _client(address: str) -> Client:
    return Client(address, RequestId("req_1"))


async def _deny(sharing: Sharing, client: Client, times: int) -> list[str]:
    """Make concurrent attempts with unknown links. Returns the error codes."""

    async def attempt() -> str:
        token = await _unknown(sharing)
        with pytest.raises((LinkNotFound, TooManyDenied)) as raised:
            await sharing.links.look_up(token, client)
        return str(raised.value.code)

    return await asyncio.gather(*(attempt() for _ in range(times)))


def _count(sharing: Sharing, network: str, attempts: int) -> None:
    """Set the number of attempts from a network in the first window of a test."""
    ends_at = int(sharing.clock.now() + ATTEMPT_WINDOW_S)
    item = {
        "id": {"S": f"counter:denied:network:{network}:{ends_at}"},
        "attempts": {"N": str(attempts)},
    }
    sharing.dynamodb.put_item(TableName=TABLE, Item=item)


@pytest.mark.bound("sharing.denials:NETWORK_DENIED_MAX")
async def test_denied_attempts_of_a_network_are_limited_exactly(sharing: Sharing) -> None:
    network, another = _client("192.0.2.1"), _client("198.18.0.1")
    _count(sharing, network.network, NETWORK_DENIED_MAX - 15)
    codes = [*await _deny(sharing, network, 10), *await _deny(sharing, _client("192.0.2.254"), 10)]
    assert (codes.count("link_not_found"), codes.count("too_many_denied")) == (15, 5)
    assert await _deny(sharing, another, 1) == ["link_not_found"]
    sharing.clock.advance(ATTEMPT_WINDOW_S)
    assert await _deny(sharing, network, 1) == ["link_not_found"]


@pytest.mark.bound("sharing.denials:DENIED_EVENTS_MAX")
async def test_recorded_denied_attempts_of_a_link_are_bounded(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denials, "DENIED_EVENTS_MAX", 2)
    token = await _wrong_link_secret(sharing)
    for _ in range(2):
        for number in range(4):
            with pytest.raises(LinkNotFound):
                await sharing.links.look_up(token, _client(f"198.51.{number}.1"))
        sharing.clock.advance(ATTEMPT_WINDOW_S)
    _, events = await sharing.backend.table.with_events(token.secret_id) or ({}, [])
    assert [event.audit_event.action for event in events].count(AuditAction.LINK_DENIED) == 4


async def test_limit_of_a_network_denies_no_correct_link(sharing: Sharing) -> None:
    network = _client(ADDRESS)
    _count(sharing, NETWORK, NETWORK_DENIED_MAX)
    assert await _deny(sharing, network, 1) == ["too_many_denied"]
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    _, submission, _ = await request(sharing)
    assert await sharing.links.look_up(token, network)
    opened = await sharing.open(token, passphrase=PASSPHRASE, client=network)
    assert await sharing.text(opened) == TEXT
    await sharing.links.acknowledge(token, opened.claim_id, network)
    await submit(sharing, submission)


async def test_limit_of_a_network_shows_neither_links_nor_events(sharing: Sharing) -> None:
    _count(sharing, NETWORK, NETWORK_DENIED_MAX)
    send = COMPLETE["POST /v1/links/open"]
    expected = await send(sharing, await _unknown(sharing))
    assert (expected.status, json.loads(expected.body)["code"]) == (429, "too_many_denied")
    assert 0 < int(dict(expected.headers)["retry-after"]) <= ATTEMPT_WINDOW_S
    for make in (_wrong_link_secret, _revoked, _used):
        token = await make(sharing)
        assert await send(sharing, token) == expected, make.__name__
        _, events = await sharing.backend.table.with_events(token.secret_id) or ({}, [])
        assert "link.denied" not in [event.audit_event.action for event in events]
    page = await COMPLETE["POST /s/{link}"](sharing, await _unknown(sharing))
    assert (page.status, "Try again in ten minutes" in page.body) == (429, True)
