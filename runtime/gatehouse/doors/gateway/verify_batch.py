"""POST /v1/keys/verify-batch: many tokens in one body, a decision for each, in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gatehouse.core.decide import for_public
from gatehouse.doors import asgi
from gatehouse.doors.gateway.exchange import Exchange
from gatehouse.errors import BadRequest, Problem
from gatehouse.flows.admit import Admission
from gatehouse.observe import Metrics
from gatehouse.types import Question
from gatehouse.wire import verify as wire


class VerifyBatch:
    """body_max_bytes: largest body that is read."""

    def __init__(self, admission: Admission, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics
        self._body_bytes_max = body_max_bytes

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.json_body(self._body_bytes_max)
        asked = wire.decode_batch(body, exchange.client(self._addresses))
        await self._check(asked)
        # Together: what misses the cache becomes one query, and all limits one call to Redis.
        verdicts = await asyncio.gather(*(self._admission.admit(token, question) for token, question in asked))
        for (_, question), verdict in zip(asked, verdicts, strict=True):
            self._metrics.by_code[verdict.code].inc()
            exchange.count(verdict, question.core, behalf=True)
        # 200 also when single answers are UNAVAILABLE: each says so by itself.
        results = tuple(wire.answer(for_public(verdict), exchange.request_id) for verdict in verdicts)
        await exchange.reply(200, asgi.encode(wire.BatchReply(results)))

    async def _check(self, asked: Sequence[tuple[str, Question]]) -> None:
        """A limit that cannot be counted refuses the whole batch, so it is looked for before anything is charged.

        Only questions that bring limits can have one: they are asked once more, at a cost of nothing. Raises BadRequest.
        """
        for index, (token, question) in enumerate(asked):
            if not question.limits:
                continue
            try:
                await self._admission.admit(token, msgspec.structs.replace(question, cost=0))
            except BadRequest as exc:
                here = f"body.keys[{index}]"
                errors = tuple(Problem(here + one.location.removeprefix("body"), one.message, one.fix) for one in exc.errors)
                raise BadRequest(exc.public, errors=errors) from None
