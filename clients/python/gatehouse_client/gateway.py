"""Clients for the gateway, which verify API keys."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
from msgspec import structs

from gatehouse_client.credentials import credential, trimmed
from gatehouse_client.errors import ApiError
from gatehouse_client.models import SelfRevocationResponse, SignedRequestInput, VerifyReply
from gatehouse_client.transport import CONNECTION_LOST, AsyncClient, Client, Retries

#: The status for each code, the same as that of the gateway for requests to Cores.
STATUS = {
    "VALID": 200,
    "NOT_FOUND": 401,
    "DISABLED": 401,
    "EXPIRED": 401,
    "SIGNATURE_INVALID": 401,
    "USAGE_EXCEEDED": 402,
    "FORBIDDEN": 403,
    "INSUFFICIENT_PERMISSIONS": 403,
    "RATE_LIMITED": 429,
    "UNAVAILABLE": 503,
}
TIMEOUT_S = 2.0
#: A request waits for the decision, so there is one short retry.
RETRIES = Retries(attempts=2, wait_s=0.05, wait_s_max=0.25)
_PASSED_ON = ("RateLimit", "RateLimit-Policy", "Retry-After")
_VERIFY, _REVOKE_SELF = "/v1/keys/verify", "/v1/keys/revoke-self"
_CHALLENGE = 'Bearer realm="gatehouse"'


class Verification(VerifyReply, frozen=True, kw_only=True):
    """The decision on a key. Fields that describe the key are None unless the key is known.

    headers: fields for the response to the client: RateLimit, RateLimit-Policy, Retry-After,
        WWW-Authenticate.
    """

    headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies the dictionary

    @property
    def status(self) -> int:
        """The status for the client: 200 if the key is valid."""
        return 200 if self.valid else STATUS.get(self.code, 403)


class GatewayClient(Client):
    """Verifies keys. One client per process keeps connections to the gateway; threads can share it.

    timeout_s: for each step of a request (connect, send, receive).
    retries: a request whose connection is lost is sent again, and can then count twice against
        limits. A request that times out is not sent again.
    fail_open: the result while the gateway is unavailable. False (fail closed): not valid, with the
        code UNAVAILABLE, for which middleware returns 503. True: valid, with the code UNAVAILABLE
        and without a key. Whoever overloads the gateway can then use the service without a key.
    transport: HTTP transport for tests.
    """

    def __init__(
        self,
        gateway: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = RETRIES,
        fail_open: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__("gateway", gateway, {}, retries, timeout_s=timeout_s, transport=transport)
        self._fail_open = fail_open

    def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        request: SignedRequestInput | None = None,
    ) -> Verification:
        """The decision on a key and the request for which it is used.

        scopes: that the key must have. core: Core to access. cost: credits to consume; 0: count
        nothing. address, method: of the client's request; otherwise, restrictions apply to the
        address of this service, and keys with methods permit every method. request: the signed
        request, for keys that require signatures.

        Raises BadRequest if the request is malformed, such as a token of 10,000 characters, and
        ApiError if the URL is not that of a gateway.
        """
        body = _body(token, scopes, core, cost, address, method, request)
        try:
            reply = self._send("POST", _VERIFY, CONNECTION_LOST, json=body)
        except ApiError as exc:
            return _without_decision(exc, self._fail_open)
        return _with_headers(self._decode(Verification, reply), reply)

    def revoke_self(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key of the token. Raises Unauthorized if it is no active or disabled key."""
        body = {"token": credential("token", token), "reason": reason}
        reply = self._send("POST", _REVOKE_SELF, CONNECTION_LOST, json=body)
        return self._decode(SelfRevocationResponse, reply)


class AsyncGatewayClient(AsyncClient):
    """As `GatewayClient`, for asyncio."""

    def __init__(
        self,
        gateway: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = RETRIES,
        fail_open: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__("gateway", gateway, {}, retries, timeout_s=timeout_s, transport=transport)
        self._fail_open = fail_open

    async def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        request: SignedRequestInput | None = None,
    ) -> Verification:
        """As `GatewayClient.verify`."""
        body = _body(token, scopes, core, cost, address, method, request)
        try:
            reply = await self._send("POST", _VERIFY, CONNECTION_LOST, json=body)
        except ApiError as exc:
            return _without_decision(exc, self._fail_open)
        return _with_headers(self._decode(Verification, reply), reply)

    async def revoke_self(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """As `GatewayClient.revoke_self`."""
        body = {"token": credential("token", token), "reason": reason}
        reply = await self._send("POST", _REVOKE_SELF, CONNECTION_LOST, json=body)
        return self._decode(SelfRevocationResponse, reply)


def challenge(*, invalid: bool) -> str:
    """WWW-Authenticate. Without an error if the request had no credential (RFC 6750, section 3)."""
    return _CHALLENGE + (', error="invalid_token"' if invalid else "")


def _body(
    token: str,
    scopes: Iterable[str],
    core: str | None,
    cost: int,
    address: str | None,
    method: str | None,
    request: SignedRequestInput | None,
) -> dict[str, Any]:
    optional = {"core": core, "address": address, "method": method, "request": request}
    present = {name: value for name, value in optional.items() if value is not None}
    return {"token": trimmed(token), "scopes": list(scopes), "cost": cost, **present}


def _with_headers(verification: Verification, reply: httpx.Response) -> Verification:
    headers = {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}
    if verification.status == 401:
        headers["WWW-Authenticate"] = challenge(invalid=True)
    return structs.replace(verification, headers=headers)


def _without_decision(error: ApiError, fail_open: bool) -> Verification:
    """The result if the gateway is unavailable. Raises any other error."""
    if error.status in range(1, 500) and error.status != 429:
        raise error
    return Verification(
        valid=fail_open,
        code="UNAVAILABLE",
        reason=None,
        key_id=None,
        name=None,
        owner=None,
        environment=None,
        scopes=None,
        expires_at=None,
        limits=[],
        credits=None,
        staleness_ms=0,
        decided_at=datetime.now(UTC),
        request_id=error.request_id,
        headers={} if fail_open else {"Retry-After": f"{error.retry_after_s or 1:.0f}"},
    )
