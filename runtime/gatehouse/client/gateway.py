"""A client of the gateway, for services that ask it whether a token is good: one decision, many at once, or the end of a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import httpx
import msgspec

from gatehouse.client.http import Client, Retries, Wire
from gatehouse.errors import Unavailable
from gatehouse.keys.self_revocation import SelfRevoke, SelfRevoked
from gatehouse.verification.schemas import BatchReply, BatchRequest, RateLimitInput, VerifyReply, VerifyRequest

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class GatewayClient(Client):
    """Needs no credential: what is asked about is in the question. For threads; in asyncio call it with `asyncio.to_thread`.

    A verification counts against limits, so one is not sent again unless it never left this machine. An answer is a value, also a
    refusal: look at `valid` and `code`. Raises a GatehouseError otherwise: Unavailable when the gateway cannot say.
    """

    def __init__(self, gateway: str, *, retries: Retries | None = None, transport: httpx.BaseTransport | None = None) -> None:
        """`gateway`: its URL. `transport`: how to reach it, for tests."""
        super().__init__(Wire("gateway", gateway, {}, retries=retries or Retries(), transport=transport))

    def verify(
        self,
        token: str,
        *,
        scopes: Sequence[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        limits: Sequence[RateLimitInput] = (),
    ) -> VerifyReply:
        """The decision on a token. `cost` 0 looks without using anything. See POST /v1/keys/verify for the rest."""
        asked = VerifyRequest(token, tuple(scopes), core, cost, address, method, tuple(limits))
        return self._ask("/v1/keys/verify", asked, VerifyReply, again=cost == 0)

    def verify_many(self, asked: Sequence[VerifyRequest]) -> tuple[VerifyReply, ...]:
        """A decision for each of up to 100 questions, in their order."""
        return self._ask("/v1/keys/verify-batch", BatchRequest(tuple(asked)), BatchReply).results

    def revoke(self, token: str, reason: str = "") -> SelfRevoked:
        """Ends the key that the token belongs to. Raises Unauthorized when it belongs to none that could be ended."""
        return self._ask("/v1/keys/revoke-self", SelfRevoke(token, reason), SelfRevoked)

    def _ask(self, path: str, asked: msgspec.Struct, answer: type[_Struct], *, again: bool = False) -> _Struct:
        headers = {"Content-Type": "application/json"}
        reply = self._wire.send("POST", path, again=again, content=msgspec.json.encode(asked), headers=headers)
        try:
            return msgspec.json.decode(reply.content, type=answer)
        except msgspec.MsgspecError as exc:
            raise Unavailable(f"{self._wire.url} does not answer like a gateway of this version") from exc
