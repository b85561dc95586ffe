"""POST /v1/keys/revoke-self: revokes the key of the token in the request body."""

from __future__ import annotations

from gatehouse.errors import Unauthorized
from gatehouse.gateway.credentials import challenge
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.keys.self_revocation import SelfRevocationResponse, SelfRevocationService, decode


class RevokeSelf:
    def __init__(self, service: SelfRevocationService, addresses: asgi.ClientAddresses, *, body_max_bytes: int) -> None:
        self._service = service
        self._addresses = addresses
        self._body_max_bytes = body_max_bytes

    async def __call__(self, context: RequestContext) -> None:
        request = decode(await context.json_body(self._body_max_bytes))
        revoked = await self._service.revoke(
            request.token,
            request.reason,
            request_id=context.request_id,
            source_address=context.client(self._addresses),
        )
        if revoked is None:
            # The same response for an unknown, a wrong and an already revoked token.
            error = Unauthorized("The token does not prove possession of a key that can be revoked")
            await context.fail(error, headers=challenge(invalid=True))
            return
        context.key_id, effective = revoked
        response = SelfRevocationResponse(context.key_id, effective.value, context.request_id)
        await context.reply(200, asgi.encode(response))
