"""Verification with the Python client, at a running gateway and without one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from gatehouse.core.verification import Code, VerificationResult
from gatehouse.features.customers.service import LimitService
from gatehouse.platform.db.pool import Pool
from gatehouse.services.gateway.credentials import _denial
from gatehouse_client import (
    ApiError,
    AsyncGatewayClient,
    BadRequest,
    Forbidden,
    GatewayClient,
    NotFound,
    Unauthorized,
)
from gatehouse_client.gateway import STATUS
from gatehouse_client.models import Take

from tests.runtime.services.gateway.conftest import Gateway, key_service, limit
from tests.runtime.services.gateway.test_subject_limits import limit_of


def client(gateway: Gateway) -> GatewayClient:
    return GatewayClient(f"http://127.0.0.1:{gateway.port}")


async def test_result_has_the_fields_of_the_key(gateway: Gateway) -> None:
    key = await gateway.create_key(scopes=["orders:read"], customer_id="shop", limits=[limit(5)])
    with client(gateway) as synchronous:
        result = synchronous.verify(key.token, scopes=["orders:read"])
    async with AsyncGatewayClient(f"http://127.0.0.1:{gateway.port}") as asynchronous:
        other = await asynchronous.verify(key.token, scopes=["orders:read"])
    assert (result.valid, result.code, result.status) == (True, "VALID", 200)
    assert (result.key_id, result.customer_id, result.scopes) == (key.id, "shop", ["orders:read"])
    assert [(item.limits[0].limit, item.limits[0].remaining) for item in (result, other)] == [
        (5, 4),
        (5, 3),
    ]
    assert result.headers["RateLimit-Policy"] == '"requests";q=5;w=3600'
    assert key.token not in repr(result)


async def test_denial_has_the_headers_of_its_status(gateway: Gateway) -> None:
    key = await gateway.create_key(scopes=["orders:read"], methods=["GET"], limits=[limit(1)])
    with client(gateway) as verifier:
        unknown = verifier.verify("nonsense")
        scope = verifier.verify(key.token, scopes=["orders:write"])
        method = verifier.verify(key.token, method="POST")
        results = [verifier.verify(key.token, address="192.0.2.7", method="GET") for _ in "ab"]
    assert (unknown.status, unknown.headers) == (
        401,
        {"WWW-Authenticate": 'Bearer realm="gatehouse", error="invalid_token"'},
    )
    assert [(item.status, item.code) for item in (scope, method)] == [
        (403, "INSUFFICIENT_PERMISSIONS"),
        (403, "FORBIDDEN"),
    ]
    assert [item.status for item in results] == [200, 429]
    assert int(results[1].headers["Retry-After"]) > 0
    assert '"requests";r=0' in results[1].headers["RateLimit"]


async def test_malformed_request_is_an_error_although_the_client_fails_open(
    gateway: Gateway,
) -> None:
    with (
        GatewayClient(f"http://127.0.0.1:{gateway.port}", fail_open=True) as verifier,
        pytest.raises(BadRequest) as raised,
    ):
        verifier.verify("x" * 10_000)
    assert raised.value.errors[0].location == "body.token"
    assert "xxxx" not in str(raised.value)


async def test_holder_revokes_a_key(gateway: Gateway) -> None:
    key = await gateway.create_key()
    with client(gateway) as verifier:
        assert verifier.revoke_self(key.token, "leaked").effective == "everywhere"
        assert verifier.verify(key.token).code == "NOT_FOUND"
        with pytest.raises(Unauthorized):
            verifier.revoke_self(key.token)


async def test_units_of_limits_are_counted_for_subjects(
    gateway: Gateway, module_pool: Pool
) -> None:
    limits = LimitService.of(module_pool, key_service(module_pool))
    service = await gateway.create_key(scopes=["role:service"])
    small, large = await limit_of(limits, 2), await limit_of(limits, 10)
    url = f"http://127.0.0.1:{gateway.port}"
    with GatewayClient(url, service.token) as client:
        assert client.take(small, "user 1", cost=2, dry_run=True).allowed
        results = [client.take(small, "user 1") for _ in range(3)]
        assert [result.allowed for result in results] == [True, True, False]
        assert results[0].headers["RateLimit"].startswith(f'"{small}";r=1;t=')
        assert int(results[2].headers["Retry-After"]) > 0
        with pytest.raises(NotFound):
            client.take("missing", "user 1")
        assert client.verify(service.token).valid
    async with AsyncGatewayClient(url, service.token) as other:
        takes: list[Take] = [{"limit": name, "subject": "user 2"} for name in (small, large)]
        both = await other.take_all(takes)
        assert [state.remaining for state in both.limits] == [1, 9]
    key = await gateway.create_key()
    for token, error in (
        (None, Unauthorized),
        ("gtk_test_x", Unauthorized),
        (key.token, Forbidden),
    ):
        with GatewayClient(url, token, fail_open=True) as client, pytest.raises(error) as raised:
            client.take(small, "user 1")
        assert token is None or token not in str(raised.value)


@pytest.mark.parametrize("fail_open", [True, False])
def test_without_a_decision_the_option_decides_on_limits(fail_open: bool) -> None:
    with recorded() as (url, _), GatewayClient(url, "a-token", fail_open=fail_open) as client:
        result = client.take("sign-in", "user 1")
    assert (result.allowed, bool(result.headers), bool(result.error)) == (
        fail_open,
        not fail_open,
        True,
    )


@contextmanager
def recorded(*closed: int) -> Iterator[tuple[str, list[int]]]:
    """A server that reads requests and closes the connections with these numbers instead of
    responding. Yields its URL and the number of the connection of each request.
    """
    requests: list[int] = []
    body = b'{"code": "unavailable", "detail": "x"}'
    response = b"HTTP/1.1 503 S\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve(listener: socket.socket) -> None:
        for number in range(100):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                while line := reader.readline():
                    length = 0
                    while line.strip():
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.partition(b":")[2])
                        line = reader.readline()
                    reader.read(length)
                    requests.append(number)
                    if number in closed:
                        break
                    connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_url_of_another_service_is_an_error_that_says_so() -> None:
    document = {"code": "method_not_allowed", "detail": "Allowed methods: GET."}
    transport = httpx.MockTransport(lambda _: httpx.Response(405, json=document))
    client = GatewayClient("http://console.test", transport=transport)
    with pytest.raises(ApiError, match="the gateway does not have this operation: check its URL"):
        client.verify("a")


def test_connection_is_reused_and_a_lost_one_is_replaced() -> None:
    with recorded(0) as (url, requests), GatewayClient(url) as verifier:
        for _ in range(3):
            assert verifier.verify("gtk_test_x").code == "UNAVAILABLE"
    assert requests == [0, 1, 1]  # each request was sent once


def test_statuses_are_those_of_the_gateway() -> None:
    expected = {
        code.value: _denial(VerificationResult(code, staleness_ms=0, decided_at=0.0)).status
        for code in Code
        if code not in (Code.REVOKED, Code.VALID)
    }
    assert {**expected, Code.VALID.value: 200} == STATUS
