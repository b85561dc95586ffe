"""Client of the gateway: verifies tokens, one or many at a time, and revokes a key with its own token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import httpx
import msgspec

from gatehouse.client.http import Client, Retries, Transport
from gatehouse.errors import Unavailable
from gatehouse.keys.self_revocation import SelfRevocationRequest, SelfRevocationResponse
from gatehouse.verification.models import RateLimitOverride
from gatehouse.verification.schemas import BatchReply, BatchRequest, VerifyReply, VerifyRequest

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class GatewayClient(Client):
    """A synchronous client without a credential; in asyncio call it with `asyncio.to_thread`.

    A verification consumes limits, so it is repeated only if the request was never sent. A denial is a result, not an error:
    see `valid` and `code`. Raises a GatehouseError otherwise; Unavailable if the gateway cannot decide.
    """

    def __init__(self, gateway: str, *, retries: Retries | None = None, transport: httpx.BaseTransport | None = None) -> None:
        """Arguments: URL of the gateway, retry policy, HTTP transport (for tests)."""
        super().__init__(Transport("gateway", gateway, {}, retries=retries or Retries(), transport=transport))

    def verify(
        self,
        token: str,
        *,
        scopes: Sequence[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        limits: Sequence[RateLimitOverride] = (),
    ) -> VerifyReply:
        """Verifies a token. `cost` 0 consumes nothing. POST /v1/keys/verify documents the other arguments."""
        request = VerifyRequest(token, tuple(scopes), core, cost, address, method, tuple(limits))
        return self._post("/v1/keys/verify", request, VerifyReply, retryable=cost == 0)

    def verify_many(self, requests: Sequence[VerifyRequest]) -> tuple[VerifyReply, ...]:
        """Verifies up to 100 tokens. The results are in the order of the requests."""
        return self._post("/v1/keys/verify-batch", BatchRequest(tuple(requests)), BatchReply).results

    def revoke(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key of the token. Raises Unauthorized if the token belongs to no active or disabled key."""
        return self._post("/v1/keys/revoke-self", SelfRevocationRequest(token, reason), SelfRevocationResponse)

    def _post(self, path: str, request: msgspec.Struct, response: type[_Struct], *, retryable: bool = False) -> _Struct:
        headers = {"Content-Type": "application/json"}
        reply = self._transport.send("POST", path, retryable=retryable, content=msgspec.json.encode(request), headers=headers)
        try:
            return msgspec.json.decode(reply.content, type=response)
        except msgspec.MsgspecError as exc:
            raise Unavailable(f"{self._transport.url} returned an unexpected response: is it a gateway of this version?") from exc
