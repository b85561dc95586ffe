# Derived from _async by `make docs`. Do not edit.
"""Verifies keys at the gateway."""

from collections.abc import Iterable

import httpx

from gatehouse_client._sync.client import Client
from gatehouse_client.credentials import credential
from gatehouse_client.errors import ApiError
from gatehouse_client.gateway import (
    RETRIES,
    REVOKE_SELF,
    TIMEOUT_S,
    VERIFY,
    Verification,
    verification_request,
    with_headers,
    without_decision,
)
from gatehouse_client.models import SelfRevocationResponse, SignedRequestInput
from gatehouse_client.transport import CONNECTION_LOST, Retries


class GatewayClient(Client):
    """Verifies keys. One client per process keeps connections to the gateway; threads can share it.

    timeout_s: for each step of a request (connect, send, receive).
    retries: of a verification for which no connection was established. Any other may have been
        counted, so it is not sent again.
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
        body = verification_request(token, scopes, core, cost, address, method, request)
        try:
            reply = self._send("POST", VERIFY, json=body)
        except ApiError as exc:
            return without_decision(exc, self._fail_open)
        return with_headers(self._decode(Verification, reply), reply)

    def revoke_self(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key of the token. Raises Unauthorized if it is no active or disabled key."""
        body = {"token": credential("token", token), "reason": reason}
        reply = self._send("POST", REVOKE_SELF, CONNECTION_LOST, json=body)
        return self._decode(SelfRevocationResponse, reply)
