"""/v1/keys/authorize at a running gateway, as proxies call it."""

from typing import Any
from urllib.parse import unquote

import pytest

from tests.cases import cases
from tests.runtime.services.gateway.conftest import Core, Gateway, limit

_CASES = cases(__file__)

AUTHORIZE = "/v1/keys/authorize"
ORDERS = f"{AUTHORIZE}/scope=orders:read"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_and_body_is_decided(gateway: Gateway, method: str) -> None:
    key = await gateway.create_key(
        scopes=["orders:read"], customer_id="shop", name="web", methods=[]
    )
    body = None if method in ("GET", "HEAD") else b"\xffnot JSON" * 1000
    for target in (f"{AUTHORIZE}?scope=orders:read", f"{ORDERS}/orders/17?scope=other"):
        allowed = await gateway.request(method, target, key.bearer, body=body)
        assert (allowed.status, allowed.body) == (200, b"")
        names = ("gatehouse-key-id", "gatehouse-customer-id", "gatehouse-key-name")
        assert [allowed.header(name) for name in names] == [key.id, "shop", "web"]
        assert allowed.header("ratelimit")
        denied = await gateway.request(method, target, body=body)
        assert (denied.status, denied.header("www-authenticate")) == (
            401,
            'Bearer realm="gatehouse"',
        )
    other = await gateway.request(method, f"{AUTHORIZE}?scope=admin", key.header, body=body)
    assert other.status == 403


@pytest.mark.parametrize(
    ("method", "headers", "target", "status"), _CASES["method_of_the_request_is_decided"]
)
async def test_method_of_the_request_is_decided(
    gateway: Gateway, method: str, headers: tuple[str, ...], target: str, status: int
) -> None:
    key = await gateway.create_key(methods=["GET"])
    assert (await gateway.request(method, target, key.header, *headers)).status == status


@pytest.mark.parametrize(
    "path",
    [
        "/../../verify",
        "/%2e%2e/%2e%2e/verify",
        "/..%2f..%2fverify",
        "//scope=x/",
        "/\\..\\verify",
        "/orders?scope=",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_path_of_the_client_does_not_change_the_decision(
    gateway: Gateway, method: str, path: str
) -> None:
    key = await gateway.create_key(scopes=["other"])
    body = b'{"token": "%s"}' % key.token.encode() if method == "POST" else None
    reply = await gateway.request(method, ORDERS + path, key.bearer, body=body)
    assert reply.status in (400, 403)


@pytest.mark.parametrize("suffix", ["/", "/orders", "x", "/orders/scope=a", "-x/scope=a"])
async def test_path_without_parameters_is_not_decided(gateway: Gateway, suffix: str) -> None:
    key = await gateway.create_key()
    reply = await gateway.request("POST", AUTHORIZE + suffix, key.bearer)
    assert reply.status == 404
    assert "/v1/keys/authorize/scope=orders:read" in reply.json["detail"]


async def test_unknown_parameter_is_rejected(gateway: Gateway) -> None:
    key = await gateway.create_key()
    for target in (f"{AUTHORIZE}?scop=a", f"{AUTHORIZE}/scop=a/orders"):
        assert (await gateway.get(target, key.header)).status == 400


async def test_denial_has_the_headers_of_its_status(gateway: Gateway) -> None:
    key = await gateway.create_key(limits=[limit(1)])
    replies = [await gateway.request("POST", AUTHORIZE, key.bearer) for _ in "ab"]
    assert [reply.status for reply in replies] == [200, 429]
    assert int(replies[1].header("retry-after") or 0) > 0
    assert '"requests";r=0' in (replies[1].header("ratelimit") or "")
    assert replies[1].header("content-type") == "application/problem+json"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("team a, 100%", "team a, 100%25"),
        ("Zoë", "Zo%C3%AB"),
        ("東京 \N{ROCKET}", "%E6%9D%B1%E4%BA%AC %F0%9F%9A%80"),
    ],
)
async def test_name_in_any_script_reaches_a_service(
    gateway: Gateway, core: Core, docs: Any, name: str, encoded: str
) -> None:
    key = await gateway.create_key(customer_id="a.b_c:d@e-f", name=name)
    decided = await gateway.request("POST", AUTHORIZE, key.bearer)
    assert (await gateway.forward(key)).status == 200
    for headers in (dict(decided.headers), core.last[1]):
        assert headers["gatehouse-customer-id"] == "a.b_c:d@e-f"
        received = headers["gatehouse-key-name"]
        assert (received, unquote(received)) == (encoded, name)
