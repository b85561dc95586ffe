"""Verification endpoints.

POST /v1/keys/verify: a token in a JSON body, the result in the response (status 200 for every decision).
POST /v1/keys/verify-batch: several tokens in one body, their results in the same order.
GET /v1/keys/verify: the token in a header, the result in the status, for `auth_request` of nginx and similar. Optional query
parameters: `scope` (repeatable), `core` and `method`. The client address is the caller's own, as reported by trusted proxies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gatehouse.errors import BadRequest, Problem
from gatehouse.gateway.credentials import ACCEPT_SIGNATURE, challenge, denial, presented_token
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.observability import Metrics
from gatehouse.verification import schemas
from gatehouse.verification.decision import for_public
from gatehouse.verification.models import Code, VerificationRequest
from gatehouse.verification.service import VerificationService


class Verify:
    def __init__(
        self, service: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int
    ) -> None:
        self._service = service
        self._addresses = addresses
        self._metrics = metrics
        self._body_max_bytes = body_max_bytes

    async def __call__(self, context: RequestContext) -> None:
        body = await context.json_body(self._body_max_bytes)
        token, request = schemas.decode(body, context.client(self._addresses))
        result = await self._service.verify(token, request)
        self._metrics.by_code[result.code].inc()
        context.verified(result, request.core, on_behalf=True)
        public = for_public(result)
        status = 503 if public.code is Code.UNAVAILABLE else 200
        headers = schemas.limit_headers(public.limits) if status == 200 else [(b"retry-after", b"1")]
        await context.reply(status, asgi.encode(schemas.reply(public, context.request_id)), headers=headers)


class VerifyBatch:
    def __init__(
        self, service: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics, *, body_max_bytes: int
    ) -> None:
        self._service = service
        self._addresses = addresses
        self._metrics = metrics
        self._body_max_bytes = body_max_bytes

    async def __call__(self, context: RequestContext) -> None:
        body = await context.json_body(self._body_max_bytes)
        requests = schemas.decode_batch(body, context.client(self._addresses))
        await self._check_overrides(requests)
        # Concurrently, so that cache misses become one query and all rate limits one call to Redis.
        results = await asyncio.gather(*(self._service.verify(token, request) for token, request in requests))
        for (_, request), result in zip(requests, results, strict=True):
            self._metrics.by_code[result.code].inc()
            context.count(result, request.core, on_behalf=True)
        # Status 200 even if some results are UNAVAILABLE: each result has its own code.
        replies = tuple(schemas.reply(for_public(result), context.request_id) for result in results)
        await context.reply(200, asgi.encode(schemas.BatchReply(replies)))

    async def _check_overrides(self, requests: Sequence[tuple[str, VerificationRequest]]) -> None:
        """Checks rate-limit overrides at cost 0 first, so that an invalid one rejects the batch before a limit is consumed.

        Raises BadRequest.
        """
        for index, (token, request) in enumerate(requests):
            if not request.limits:
                continue
            try:
                await self._service.verify(token, msgspec.structs.replace(request, cost=0))
            except BadRequest as exc:
                location = f"body.keys[{index}]"
                errors = tuple(
                    Problem(location + problem.location.removeprefix("body"), problem.message, problem.fix)
                    for problem in exc.errors
                )
                raise BadRequest(exc.public, errors=errors) from None


class VerifyHeader:
    def __init__(self, service: VerificationService, addresses: asgi.ClientAddresses, metrics: Metrics) -> None:
        self._service = service
        self._addresses = addresses
        self._metrics = metrics

    async def __call__(self, context: RequestContext) -> None:
        token = presented_token(context)
        request = schemas.decode_parameters(context.scope["query_string"], context.client(self._addresses))
        if token is None:
            await context.reply(401, headers=challenge(invalid=False))
            return
        result = await self._service.verify(token, request)
        self._metrics.by_code[result.code].inc()
        context.verified(result, request.core)
        error = denial(result)
        headers = schemas.limit_headers(result.limits)
        if error is None:
            key_id = [] if result.record is None else [(b"gatehouse-key-id", result.record.id.encode())]
            await context.reply(200, headers=[*headers, *key_id])
            return
        if error.status == 401:
            headers += challenge(invalid=True)
            headers += [ACCEPT_SIGNATURE] if result.reason else []
        elif error.status == 503:
            headers.append((b"retry-after", b"1"))
        await context.reply(error.status, headers=headers)
