"""POST /v1/keys/revoke-self: whoever holds a key may end it, at any hour and without an account."""

from __future__ import annotations

from gatehouse.errors import Unauthorized
from gatehouse.gateway import credentials as credential
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.keys import self_revocation as wire
from gatehouse.keys.service import SelfRevocation


class RevokeSelf:
    """body_max_bytes: largest body that is read."""

    def __init__(self, revocation: SelfRevocation, addresses: asgi.ClientAddresses, *, body_max_bytes: int) -> None:
        self._revocation = revocation
        self._addresses = addresses
        self._body_bytes_max = body_max_bytes

    async def __call__(self, exchange: RequestContext) -> None:
        request = wire.decode(await exchange.json_body(self._body_bytes_max))
        done = await self._revocation.revoke(
            request.token,
            request.reason,
            request_id=exchange.request_id,
            source_address=exchange.client(self._addresses),
        )
        if done is None:
            # Unknown, another's, revoked before: nobody learns which.
            await exchange.fail(
                Unauthorized("This token proves possession of no key that could be revoked"),
                headers=credential.challenge(invalid=True),
            )
            return
        exchange.key_id, effective = done
        answer = wire.SelfRevoked(key_id=exchange.key_id, effective=effective.value, request_id=exchange.request_id)
        await exchange.reply(200, asgi.encode(answer))
