"""POST /v1/keys/verify: a token in a JSON body, the decision in the answer (always 200 when a decision was made)."""

from __future__ import annotations

from gatehouse.core.decide import for_public
from gatehouse.doors import asgi
from gatehouse.doors.gateway.exchange import Exchange
from gatehouse.flows.admit import Admission
from gatehouse.observe import Metrics
from gatehouse.wire import verify as wire


class Verify:
    """body_max_bytes: largest body that is read."""

    def __init__(self, admission: Admission, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics
        self._body_bytes_max = body_max_bytes

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.json_body(self._body_bytes_max)
        token, question = wire.decode(body, exchange.client(self._addresses))
        verdict = await self._admission.admit(token, question)
        self._metrics.by_code[verdict.code].inc()
        exchange.decided(verdict, question.core, behalf=True)
        public = for_public(verdict)
        # 200 also for a key that is refused: the question was answered. 503 when it could not be.
        status = 503 if public.code == "UNAVAILABLE" else 200
        headers = wire.limit_headers(public.limits) if status == 200 else [(b"retry-after", b"1")]
        await exchange.reply(status, asgi.encode(wire.answer(public, exchange.request_id)), headers=headers)
