"""Each header field and trailer is set by the gateway, the client or the Core, and no other value
of it arrives: for each name in `OWNED`, in each spelling, over each protocol.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from gatehouse.core.cores import IDENTITY_HEADERS
from gatehouse.core.http.header_names import NOT_RETURNED_TRAILERS, OWNED
from gatehouse.platform import proxy_headers

from tests.runtime.services.gateway.conftest import Core, Gateway, Key
from tests.runtime.services.gateway.raw_peers import (
    Message,
    RawCore,
    read_response,
    send_http1,
    send_http2,
)

FORGED = "forged"
KEPT = ("X-Kept", "1")
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"remove_headers": []},
    "some": {"remove_headers": ["x-internal-*"], "identity_header": "X-User"},
}
#: Names that a pattern stands for.
WILD = ("new", "customer-id", "request-id", "urls", "internal", "for")
#: Headers without which a message has another meaning, or that end the connection.
FRAMING = {"connection", "content-length", "transfer-encoding", "upgrade", "host", "te", "expect"}
WEBSOCKET = [
    *(("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


def expanded(names: Iterable[str]) -> list[str]:
    """The names for patterns."""
    result = []
    for name in names:
        result += [name.replace("*", text) for text in WILD] if "*" in name else [name]
    return result


def spellings(name: str) -> list[str]:
    forms = [name, name.title(), name.replace("-", "_"), name.replace("-", ".")]
    return [form for form in dict.fromkeys(forms) if form.lower() not in FRAMING]


def fields(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each field twice, since a proxy can replace only the first one."""
    forms = [form for name in names for form in spellings(name)]
    return [(form, f"{FORGED}{number}") for form in forms for number in range(2)]


def batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def owned(*, requests: bool) -> list[str]:
    rows = [row for row in OWNED if (row.requests if requests else row.responses)]
    own = [name.decode() for name in vars(proxy_headers).values() if isinstance(name, bytes)]
    return list(dict.fromkeys((*expanded(name for row in rows for name in row.names), *own)))


#: Of clients: also what the settings of a Core own.
REQUEST_NAMES = [*owned(requests=True), "authorization", "x-api-key"]
RESPONSE_NAMES = owned(requests=False)


def arrived(message: Message, text: str = FORGED) -> list[str]:
    """The fields and trailers with a text in their value."""
    return [name for name, value in (*message.headers, *message.trailers) if text in value]


@pytest.mark.parametrize("is_http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("relayed", ["none", "all"])
@pytest.mark.parametrize("settings", SETTINGS)
async def test_value_of_another_party_does_not_arrive(
    gateway: Gateway, settings: str, relayed: str, *, is_http2: bool
) -> None:
    core = RawCore(is_http2)
    options = {**SETTINGS[settings], "http2": is_http2, "end_on_revocation": relayed}
    async with core.serving(), gateway.core(core.url, **options) as key:
        for send in (send_http1, send_http2):
            for part in batched(fields(REQUEST_NAMES), 60):
                await _request(gateway, core, key, send, part)
            for part in batched(fields(RESPONSE_NAMES), 120):
                await _response(gateway, core, key, send, part)


async def _request(gateway: Gateway, core: RawCore, key: Key, send: Any, part: Any) -> None:
    own = [name for name, _ in part if name.lower() in ("authorization", "x-api-key")]
    sent = [field for field in part if field[0] not in own]
    reply = await send(
        gateway,
        "/cores/docs/x",
        [("X-API-Key", key.token), *sent, KEPT],
        [*part, KEPT, ("x-api-key", key.token), ("x-copy", key.token)],
    )
    assert reply.status == "200", reply
    message = core.received.pop()
    assert arrived(message) == arrived(message, key.token) == []
    assert ("x-kept", "1") in message.headers
    assert message.body == b"hi"
    assert message.trailers == []
    assert dict(message.headers)["gatehouse-key-id"] == key.id


async def _response(gateway: Gateway, core: RawCore, key: Key, send: Any, part: Any) -> None:
    core.headers = core.trailers = [*part, KEPT]
    reply = await send(gateway, "/cores/docs/x", [("X-API-Key", key.token)])
    core.headers = core.trailers = ()
    assert (reply.status, reply.body) == ("200", b"ok")
    assert arrived(reply) == []
    assert ("x-kept", "1") in reply.headers
    has_trailers = core.is_http2 and send is send_http2
    assert reply.trailers == ([("x-kept", "1")] if has_trailers else [])
    named = dict(reply.headers)
    assert named["gatehouse-request-id"].startswith("req_")
    assert named["ratelimit"]


async def test_translated_field_is_no_trailer(gateway: Gateway) -> None:
    core = RawCore(is_http2=True)
    core.trailers = [*((name, "/") for name in NOT_RETURNED_TRAILERS[-3:]), KEPT]
    async with core.serving(), gateway.core(core.url, http2=True) as key:
        reply = await send_http2(gateway, "/cores/docs/x", [("X-API-Key", key.token)])
    assert reply.trailers == [("x-kept", "1")]


async def test_identity_header_is_removed_by_default_only(gateway: Gateway) -> None:
    names = [name for name in expanded(IDENTITY_HEADERS) if "_" not in name]
    assert len(names) > 60
    for name, is_removed in (("default", True), ("none", False)):
        core = RawCore(is_http2=False)
        async with core.serving(), gateway.core(core.url, **SETTINGS[name]) as key:
            for part in batched(names, 60):
                sent = [(name, FORGED) for name in part]
                await send_http1(gateway, "/cores/docs/x", [("X-API-Key", key.token), *sent])
                expected = set() if is_removed else set(part)
                assert set(arrived(core.received.pop())) == expected


@pytest.mark.parametrize("relayed", ["none", "streams"])
async def test_websocket_handshake_has_no_forged_field(gateway: Gateway, relayed: str) -> None:
    core = RawCore(is_http2=False)
    options: Any = {"remove_headers": [], "end_on_revocation": relayed}
    async with core.serving(), gateway.core(core.url, **options) as key:
        own = [("X-API-Key", key.token), *WEBSOCKET]
        is_kept = {name.lower() for name, _ in own} | {"sec-websocket-protocol"}
        sent = [field for field in fields(REQUEST_NAMES) if field[0].lower() not in is_kept]
        core.headers = [*fields(RESPONSE_NAMES)[:150], KEPT]
        for part in batched(sent, 60):
            head = "".join(f"{name}: {value}\r\n" for name, value in [*own, *part, KEPT])
            request = f"GET /cores/docs/x HTTP/1.1\r\nHost: gateway.test\r\n{head}\r\n"
            async with gateway.connection(request.encode()) as (reader, _):
                reply = await read_response(reader)
            message = core.received.pop()
            assert reply.status == "101"
            assert arrived(message) == arrived(reply) == []
            assert ("x-kept", "1") in message.headers
            assert ("x-kept", "1") in reply.headers


async def test_core_removes_no_field_of_the_gateway(gateway: Gateway) -> None:
    """With `Connection`, whose names are fields for this connection."""
    core = RawCore(is_http2=False)
    nominated = ["X-Hop", "x-gh-urls", "Gatehouse-Request-Id", "ratelimit", "RateLimit-Policy"]
    core.headers = [
        *(("Connection", ", ".join([*nominated, ":status", "x-request-id"])), ("X-Hop", "1")),
        *(("Location", "/a"), ("Set-Cookie", "__Host-gatehouse=1; Path=/; Secure")),
    ]
    async with core.serving(), gateway.core(core.url) as key:
        reply = await send_http1(gateway, "/cores/docs/x", [("X-API-Key", key.token)])
    named = dict(reply.headers)
    assert reply.status == "200"
    assert named["location"] == "/cores/docs/a"
    assert {"gatehouse-request-id", "x-request-id", "ratelimit", "ratelimit-policy"} <= set(named)
    assert {"set-cookie", "x-hop", "connection"}.isdisjoint(named)


async def test_header_of_the_gateway_decides_nothing_for_a_client(
    gateway: Gateway, core: Core
) -> None:
    """Neither on the route, nor on the check, nor on what is logged and refunded."""
    await gateway.register(core.url, "own")
    key, before = await gateway.create_key(), len(gateway.lines())
    values = {
        "x-gh-cluster": "core:own",
        "x-gh-path": "/x",
        "x-gh-class": "60s",
        "gatehouse-request-id": f"req_{'0' * 26}",
        "gatehouse-key-id": key.id,
    }
    for relay in ((), ("x-gh-relay: upload",), ("x-gh-relay: relay",)):
        forged = *(f"{name}: {value}" for name, value in values.items()), *relay
        for path in ("/cores/own/x", "/none"):
            assert (await gateway.get(path, *forged)).status in (401, 404)
    assert core.requests == []
    assert (await gateway.get("/cores/own/last", key.header)).status == 200
    lines = await gateway.lines_with(path="/cores/own/last")
    assert len(lines) == 1
    later = gateway.lines()[before:]
    assert [line for line in later if line["event"] == "request ended"] == []
