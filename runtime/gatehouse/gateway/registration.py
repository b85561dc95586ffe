"""PUT and DELETE /v1/cores/{name}: registers a Core, renews its lease, and removes it."""

from __future__ import annotations

from gatehouse.cores.schemas import DrainCore, decode_lease
from gatehouse.cores.service import Caller, RegistrationService
from gatehouse.errors import BadRequest
from gatehouse.gateway.credentials import denial, deny, missing, presented_token
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.paths import flaw
from gatehouse.http.validation import decode_query
from gatehouse.observability import Metrics
from gatehouse.verification.models import VerificationRequest
from gatehouse.verification.service import VerificationService

PREFIX = b"/v1/cores/"
SCOPE = "cores:register"


class CoreLease:
    def __init__(
        self,
        verification: VerificationService,
        registration: RegistrationService,
        addresses: asgi.ClientAddresses,
        metrics: Metrics,
        *,
        body_max_bytes: int,
    ) -> None:
        self._verification = verification
        self._registration = registration
        self._addresses = addresses
        self._metrics = metrics
        self._body_max_bytes = body_max_bytes

    async def put(self, context: RequestContext) -> None:
        name = _name(context)
        caller = await self._authenticate(context, name)
        if caller is None:
            return
        request = decode_lease(await context.json_body(self._body_max_bytes))
        if request.lease_id is None:
            lease = await self._registration.register(caller, name, request.url or "", request.ttl_s)
        else:
            lease = await self._registration.renew(caller, name, request.lease_id, request.url, request.ttl_s)
        await context.reply(200, asgi.encode(lease))

    async def delete(self, context: RequestContext) -> None:
        name = _name(context)
        caller = await self._authenticate(context, name)
        if caller is None:
            return
        query = decode_query(context.scope["query_string"], DrainCore)
        await self._registration.drain(caller, name, query.lease_id)
        await context.reply(204)

    async def _authenticate(self, context: RequestContext, name: str) -> Caller | None:
        """None if the request was denied; the response is then sent."""
        token = presented_token(context)
        if token is None:
            raise missing()
        address = context.client(self._addresses)
        request = VerificationRequest(scopes=(SCOPE,), core=name, address=address, method=context.method)
        result = await self._verification.verify(token, request)
        self._metrics.by_code[result.code].inc()
        context.verified(result)
        error = denial(result)
        if error is not None or result.record is None:
            await deny(context, result, error or missing())
            return None
        return Caller(key=result.record, request_id=context.request_id, source_address=address)


def _name(context: RequestContext) -> str:
    problem = flaw(context.raw_path)
    if problem:
        raise BadRequest(problem[0].upper() + problem[1:])
    return context.raw_path[len(PREFIX) :].decode("ascii")
