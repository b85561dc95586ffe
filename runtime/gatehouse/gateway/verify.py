"""POST /v1/keys/verify: a token in a JSON body, the decision in the answer (always 200 when a decision was made).

POST /v1/keys/verify-batch: many tokens in one body, a decision for each, in the same order.

GET /v1/keys/verify: the key in a header, the decision in the status alone; for `auth_request` of nginx and its like.

Optional query: `scope` (may repeat), `core` and `method`, what the key is needed for. The address is the caller's own, behind
trusted proxies the one that they name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec

from gatehouse.errors import BadRequest, Problem
from gatehouse.gateway import credentials as credential
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.request_schema import bad_member, check_query
from gatehouse.observability import Metrics
from gatehouse.verification import schemas as wire
from gatehouse.verification.decision import for_public
from gatehouse.verification.models import VerificationRequest
from gatehouse.verification.schemas import check_needs, limit_headers
from gatehouse.verification.service import VerificationService


class Verify:
    """body_max_bytes: largest body that is read."""

    def __init__(
        self, admission: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int
    ) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics
        self._body_bytes_max = body_max_bytes

    async def __call__(self, exchange: RequestContext) -> None:
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


class VerifyBatch:
    """body_max_bytes: largest body that is read."""

    def __init__(
        self, admission: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int
    ) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics
        self._body_bytes_max = body_max_bytes

    async def __call__(self, exchange: RequestContext) -> None:
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

    async def _check(self, asked: Sequence[tuple[str, VerificationRequest]]) -> None:
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


class VerifyHeader:
    def __init__(self, admission: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics

    async def __call__(self, exchange: RequestContext) -> None:
        token = credential.presented_token(exchange)
        question = _question(exchange.scope["query_string"], exchange.client(self._addresses))
        if token is None:
            await exchange.reply(401, headers=credential.challenge(invalid=False))
            return
        verdict = await self._admission.admit(token, question)
        self._metrics.by_code[verdict.code].inc()
        exchange.decided(verdict, question.core)
        error = credential.refusal(verdict)
        if error is None:
            record = verdict.record
            named = [] if record is None else [(b"gatehouse-key-id", record.id.encode())]
            await exchange.reply(200, headers=[*limit_headers(verdict.limits), *named])
            return
        headers = limit_headers(verdict.limits)
        if error.status == 401:
            headers += credential.challenge(invalid=True)
            headers += [credential.ACCEPT_SIGNATURE] if verdict.reason else []
        elif error.status == 503:
            headers.append((b"retry-after", b"1"))
        await exchange.reply(error.status, headers=headers)


def _question(query: bytes, address: str) -> VerificationRequest:
    if not query:
        return VerificationRequest(address=address)
    check_query(query)
    scopes: list[str] = []
    core: str | None = None
    method: str | None = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "scope":
            scopes.append(value)
        elif name == "core" and core is None:
            core = value
        elif name == "method" and method is None:
            method = value
        else:
            fix = "GET /v1/keys/verify?scope=cores:read&core=docs&method=GET"
            raise bad_member("query", "holds more than scope, one core and one method", fix)
    check_needs(scopes, core, method, "query", scopes_name="scope")
    return VerificationRequest(scopes=tuple(scopes), core=core, address=address, method=method)
