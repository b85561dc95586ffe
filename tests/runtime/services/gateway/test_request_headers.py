"""Header fields of requests, as Cores receive them."""

from typing import Any

import pytest

from tests.runtime.core.http.test_forwarding import RESERVED_REQUEST_NAMES
from tests.runtime.services.gateway.conftest import Core, Gateway, Key

#: Of the connection to the gateway.
CONNECTION = {
    *("host", "content-length", "content_length", "connection", "transfer-encoding", "upgrade"),
    *("expect", "authorization", "x-api-key", "x_api_key"),
}
FORGED = [
    f"{name}: forged"
    for name in map(bytes.decode, RESERVED_REQUEST_NAMES)
    if name not in CONNECTION
]
HOST = "docs.cores.test"


async def get(gateway: Gateway, key: Key, *headers: str, path: str = "/cores/docs/x") -> None:
    host = "gateway.test" if path.startswith("/cores/") else HOST
    reply = await gateway.get(path, key.header, *headers, host=host)
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("path", ["/cores/docs/x", "/x"])
async def test_forged_header_does_not_reach_a_core(
    gateway: Gateway, core: Core, docs: Any, path: str
) -> None:
    """Also if the gateway has no value for it, such as that of a key without a customer."""
    key = await gateway.create_key(customer_id=None)
    assert len(FORGED) > 60
    await get(gateway, key, *FORGED, "X-Kept: 1", path=path)
    assert core.last[1]["x-kept"] == "1"
    assert "forged" not in str(core.requests)
    assert "gatehouse-customer-id" not in core.last[1]
    assert core.last[1]["gatehouse-key-id"] == key.id


async def test_header_with_the_key_does_not_reach_a_core(
    gateway: Gateway, core: Core, docs: Any
) -> None:
    key = await gateway.create_key()
    await get(
        gateway,
        key,
        *(f"Cookie: a={key.token}; __Secure-Host-b=1", f"Gatehouse-Key-Id: {key.token}"),
        *(f"X-Forwarded-For: {key.token}", f"X-Copy: {key.token}", f"{key.token}: 1"),
    )
    headers = core.last[1]
    assert key.token not in str(core.requests)
    assert headers["gatehouse-key-id"] == key.id
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "cookie" not in headers


async def test_application_receives_the_customer_in_a_header(gateway: Gateway, core: Core) -> None:
    async with gateway.core(core.url, identity_header="X-Remote-User", remove_headers=[]) as key:
        await get(gateway, key, "X-Remote-User: forged", "X_Remote_User: forged")
        assert core.last[1]["x-remote-user"] == "team-a"
        assert "x_remote_user" not in core.last[1]
        for customer_id in (None, "Ops@acme.example"):
            other = await gateway.create_key(customer_id=customer_id)
            await get(gateway, other, "X-Remote-User: forged")
            assert core.last[1].get("x-remote-user") == customer_id
    assert "forged" not in str(core.requests)


async def test_bytes_of_values_are_unchanged(gateway: Gateway, core: Core, docs: Any) -> None:
    key = await gateway.create_key()
    # Core decodes ISO 8859-1. The second text of each is a byte that is not UTF-8.
    for name in ("x-name", "cookie"):
        for value in ("a=caf\u00e9; b=\u20ac", "a=caf\udce9"):
            await get(gateway, key, f"{name}: {value}")
            expected = value.encode("utf-8", "surrogateescape").decode("latin-1")
            assert core.last[1][name] == expected
    await get(gateway, key, "cookie: a=caf\u00e9; __Secure-Host-b=\u20ac")
    assert core.last[1]["cookie"] == "a=café; __Host-b=€".encode().decode("latin-1")


async def test_segment_of_a_single_dot_is_removed(gateway: Gateway, core: Core, docs: Any) -> None:
    """apt requests such paths."""
    key = await gateway.create_key()
    await get(gateway, key, path="/cores/docs/./Packages?a=/./")
    assert core.last[0] == "GET /Packages?a=/./ HTTP/1.1"
