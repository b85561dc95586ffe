"""Settings that a Core declares."""

import base64
from typing import Any

import msgspec
import pytest
from gatehouse.features.cores.repository import COLUMNS, core_record
from gatehouse.features.cores.service import core_secret

from tests.cases import cases
from tests.runtime.core_records import changed_settings
from tests.runtime.services.gateway.conftest import Core, Gateway, Reply
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits

_CASES = cases(__file__)

BASIC: dict[str, Any] = {"basic_auth": True}
FORWARD: dict[str, Any] = {"forward_authorization": True}


def basic(password: str, user: str = "anyone") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def get(
    gateway: Gateway, *headers: str, method: str = "GET", body: bytes | None = None, path: str = "x"
) -> Reply:
    return await gateway.request(method, f"/cores/docs/{path}", *headers, body=body)


# Where clients put a key


async def test_key_is_the_password_of_basic_authentication(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, **BASIC) as key:
        latin1 = base64.b64encode(f"J\xfcrgen:{key.token}".encode("latin-1")).decode()
        for header in (
            *(basic(key.token), basic(key.token, user="Jürgen"), f"Authorization: Basic {latin1}"),
            *(basic(key.token, user=""), basic("", user=key.token)),
        ):
            assert (await get(gateway, header)).status == 200, header
        for headers in (
            *((), (basic("wrong"),), (basic("wrong", user=key.token),), (basic("", user="any"),)),
            *(("Authorization: Basic %%%",), ("Authorization: Basic /zr/",), ("X-API-Key: wrong",)),
        ):
            reply = await get(gateway, *headers)
            schemes = [value.partition(" ")[0] for value in reply.all("www-authenticate")]
            assert (reply.status, schemes) == (401, ["Basic"]), headers
    assert key.token not in str(core.requests)
    assert base64.b64encode(key.token.encode()).decode()[8:40] not in str(core.requests)


async def test_basic_authentication_is_off_by_default(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url) as key:
        reply = await get(gateway, basic(key.token))
        assert reply.status == 401
        assert reply.all("www-authenticate") == ['Bearer realm="gatehouse"']


CROSS_SITE: tuple[tuple[str, ...], ...] = (
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site", "Origin: https://other.test"),
    ("Origin: https://other.test",),
    ("Origin: null",),
)
HANDSHAKE = (
    *("GET /cores/docs/x HTTP/1.1", "Host: gateway.test", "Connection: Upgrade"),
    *("Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
OWN: tuple[tuple[str, ...], ...] = (
    (),
    ("Sec-Fetch-Site: none",),
    ("Sec-Fetch-Site: same-origin", "Origin: https://gateway.test"),
    ("Origin: https://gateway.test",),
    ("Sec-Fetch-Site: cross-site", "Origin: https://listed.test"),
)


async def test_cross_site_request_with_a_password_is_denied(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, **BASIC, cors_origins=["https://listed.test", "*"]) as key:
        for headers in CROSS_SITE:
            for unsafe in ({"method": "POST", "body": b""}, {"method": "PUT"}, {"method": "MOVE"}):
                reply = await get(gateway, basic(key.token), *headers, **unsafe)
                assert reply.outcome == (403, "cross_site"), headers
            handshake = (*HANDSHAKE, basic(key.token), *headers, "", "")
            assert (await gateway.send("\r\n".join(handshake).encode())).status == 403
        assert core.requests == []
        for headers in OWN:
            assert (await get(gateway, basic(key.token), *headers, method="POST")).status == 200
        for headers in CROSS_SITE:
            assert (await get(gateway, basic(key.token), *headers)).status == 200
            bearer = key.bearer
            assert (await get(gateway, bearer, *headers, method="POST")).status == 200


async def test_core_names_the_header_of_the_key(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, key_header="Private-Token") as key:
        assert (await get(gateway, f"private-token: {key.token}")).status == 200
        assert (await get(gateway, key.bearer)).status == 200
        reply = await get(gateway, key.header)
        assert reply.status == 401
        assert "Private-Token" in reply.json["detail"]
        others = (key.header, f"X-Copy: key={key.token}", "X-Kept: yes")
        assert (await get(gateway, key.bearer, *others)).status == 200
        assert core.last[1]["x-kept"] == "yes"
        copies = (f"Private-Token: {key.token}", f"Sec-WebSocket-Protocol: chat, {key.token}")
        assert (
            await gateway.send("\r\n".join((*HANDSHAKE, *copies, "", "")).encode())
        ).status == 200
        twice = (f"Private-Token: {key.token}", "Private-Token: other")
        assert (await get(gateway, *twice)).status == 400
    assert key.token not in str(core.requests)


async def test_core_receives_the_authorization_of_its_application(
    gateway: Gateway, core: Core
) -> None:
    async with gateway.core(core.url, **FORWARD) as key:
        header = key.header
        own = ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln", "Basic dTpw")
        for value in own:
            assert (await get(gateway, header, f"Authorization: {value}")).status == 200
            assert core.last[1]["authorization"] == value
        row = await gateway.pool.fetchrow(
            f"SELECT {COLUMNS} FROM core WHERE name = 'docs' AND NOT draining"  # noqa: S608
        )
        assert core.last[1]["gatehouse-core-secret"] == core_secret(
            gateway.pepper, core_record(row)
        )
        other = await gateway.create_key()
        unpadded = [basic(other.token, user).rstrip("=") for user in ("u", "us", "use")]
        for text in (key.bearer, basic(key.token), *unpadded):
            assert (await get(gateway, header, text)).status == 200
            assert "authorization" not in core.last[1]
        forged = "Gatehouse-Core-Secret: forged"
        assert (await get(gateway, header, forged)).status == 200
        assert "forged" not in str(core.requests[-1])
        count = len(core.requests)
        assert (await get(gateway, key.bearer)).status == 401
        assert len(core.requests) == count


# Sizes, timeouts and errors


async def test_larger_body_is_413(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, body_max_bytes=70_000) as key:
        header = key.bearer
        for size, status in ((10, 200), (70_000, 200), (70_001, 413)):
            assert (await get(gateway, header, method="PUT", body=bytes(size))).status == status
        key = await key_with_credits(gateway, 10)
        for size, status in ((60_000, 200), (80_000, 413)):
            head = f"PUT /cores/docs/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\n"
            head += "Connection: close\r\n"
            chunk = f"Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode() + bytes(size)
            reply = await gateway.send(head.encode() + chunk + b"\r\n0\r\n\r\n")
            assert reply.status == status
        # The Core has received a part of the last body.
        assert await remaining_credits(gateway, key) == 8


async def test_errors_in_the_format_of_openai(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, error_format="openai") as key:
        reply = await get(gateway, "Authorization: Bearer wrong")
        error = reply.json["error"]
        assert (reply.status, reply.header("content-type")) == (401, "application/json")
        assert (error["code"], error["type"], error["param"]) == (
            "not_found",
            "invalid_request_error",
            None,
        )
        assert error["message"]
        reply = await get(gateway, key.bearer, path="drop")
        assert (reply.status, reply.json["error"]["type"]) == (502, "server_error")


async def test_every_setting_is_stored_and_read(gateway: Gateway, core: Core) -> None:
    settings = changed_settings()
    async with gateway.core(core.url, **settings):
        row = await gateway.pool.fetchrow(
            f"SELECT {COLUMNS} FROM core WHERE name = 'docs' AND NOT draining"  # noqa: S608
        )
    assert msgspec.json.decode(msgspec.json.encode(core_record(row).settings)) == settings


async def test_last_registration_sets_the_settings_of_all_instances(
    gateway: Gateway, core: Core
) -> None:
    agent, reply = await gateway.register(core.url, instance_id="a", settings=BASIC)
    key = await gateway.create_key()
    assert (await get(gateway, basic(key.token))).status == 200
    other = {"url": "http://127.0.0.1:1", "instance_id": "b", "settings": {"key_header": "API-Key"}}
    assert (await gateway.put_core(agent, "docs", other)).status == 200
    assert (await get(gateway, basic(key.token))).status == 401
    renewal = {"lease_id": reply.json["lease_id"]}
    assert (await gateway.put_core(agent, "docs", renewal)).status == 200
    rows = await gateway.pool.fetch("SELECT settings FROM core WHERE NOT draining")
    await gateway.pool.execute("UPDATE core SET draining = true")
    assert [row["settings"] for row in rows] == 2 * ['{"key_header": "API-Key"}']


@pytest.mark.parametrize(("settings", "location"), _CASES["invalid_settings_are_rejected"])
async def test_invalid_settings_are_rejected(
    gateway: Gateway, core: Core, settings: dict[str, Any], location: str
) -> None:
    _, reply = await gateway.register(core.url, status=400, settings=settings)
    assert [error["location"] for error in reply.json["errors"]] == [location]


async def test_gateway_is_no_core(gateway: Gateway, core: Core) -> None:
    url = f"http://127.0.0.1:{gateway.port}"
    async with gateway.core(core.url) as key:
        for number, settings in enumerate(({"key_header": "X-Outer"}, {**FORWARD})):
            declared = {"key_header": "X-Outer", **settings}
            async with gateway.core(url, f"self-{number}", **declared) as outer:
                own = (f"X-Outer: {outer.token}", key.header)
                reply = await gateway.get(f"/cores/self-{number}/cores/docs/x", *own)
                assert reply.status == 400
        assert core.requests == []
