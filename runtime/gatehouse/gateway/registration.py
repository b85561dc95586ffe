"""PUT and DELETE /v1/cores/{name}: a Core takes a name, keeps it with heartbeats, and leaves."""

from __future__ import annotations

from gatehouse.cores import registration_schemas as wire
from gatehouse.cores.service import Caller, RegistrationService
from gatehouse.errors import BadRequest
from gatehouse.gateway import credentials as credential
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.paths import flaw
from gatehouse.observability import Metrics
from gatehouse.verification.models import VerificationRequest
from gatehouse.verification.service import VerificationService

PREFIX = b"/v1/cores/"


SCOPE = "cores:register"


class CoreLease:
    """One endpoint for both methods: who may do it is the same question."""

    def __init__(
        self,
        admission: VerificationService,
        registrar: RegistrationService,
        addresses: asgi.ClientAddresses,
        metrics: Metrics,
        *,
        body_max_bytes: int,
    ) -> None:
        self._admission = admission
        self._registrar = registrar
        self._addresses = addresses
        self._metrics = metrics
        self._body_bytes_max = body_max_bytes

    async def put(self, exchange: RequestContext) -> None:
        name = _name(exchange)
        caller = await self._caller(exchange, name)
        if caller is None:
            return
        request = wire.decode(await exchange.json_body(self._body_bytes_max))
        if request.lease_id is None:
            lease = await self._registrar.register(caller, name, request.url or "", request.ttl_s)
        else:
            lease = await self._registrar.renew(caller, name, request.lease_id, request.url, request.ttl_s)
        answer = wire.answer(lease.core, heartbeat_s=lease.heartbeat_s, core_secret=lease.core_secret)
        await exchange.reply(200, asgi.encode(answer))

    async def delete(self, exchange: RequestContext) -> None:
        name = _name(exchange)
        caller = await self._caller(exchange, name)
        if caller is None:
            return
        await self._registrar.drain(caller, name, wire.lease_id(exchange.scope["query_string"]))
        await exchange.reply(204)

    async def _caller(self, exchange: RequestContext, name: str) -> Caller | None:
        """None when the request was refused and answered."""
        token = credential.presented_token(exchange)
        if token is None:
            raise credential.missing()
        address = exchange.client(self._addresses)
        question = VerificationRequest(scopes=(SCOPE,), core=name, address=address, method=exchange.method)
        verdict = await self._admission.admit(token, question)
        self._metrics.by_code[verdict.code].inc()
        exchange.decided(verdict)
        error = credential.refusal(verdict)
        if error is not None or verdict.record is None:
            if error is not None:
                await credential.refuse(exchange, verdict, error)
            return None
        return Caller(key=verdict.record, request_id=exchange.request_id, source_address=address)


def _name(exchange: RequestContext) -> str:
    wrong = flaw(exchange.raw_path)
    if wrong:
        raise BadRequest(wrong[0].upper() + wrong[1:])
    return exchange.raw_path[len(PREFIX) :].decode("ascii")
