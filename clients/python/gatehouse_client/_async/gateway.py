"""Verifies keys at the gateway."""

from collections.abc import Iterable
from typing import Any
from urllib.request import getproxies

import httpx
import msgspec
from msgspec import structs

from gatehouse_client._async.client import AsyncClient
from gatehouse_client._async.connections import AsyncConnections
from gatehouse_client.cache import DecisionCache
from gatehouse_client.credentials import credential
from gatehouse_client.errors import ApiError, Reply
from gatehouse_client.gateway import (
    IN_PROGRESS_MAX,
    RESPONSE_TIMEOUT_S,
    RETRIES,
    REVOKE_SELF,
    TAKE,
    TIMEOUT_S,
    VERIFY,
    Taken,
    Verification,
    check_positive,
    decision,
    passed_on,
    take_request,
    taken_without_decision,
    verification_request,
    without_decision,
)
from gatehouse_client.models import SelfRevocationResponse, SignedRequestInput, Take
from gatehouse_client.transport import CONNECTION_LOST, Retries, uses_proxy


class AsyncGatewayClient(AsyncClient):
    """Verifies keys. One client per process keeps connections to the gateway; threads can share it.

    token: of a key with the scope `role:service`, for `take`. Sent with every request.
    timeout_s: of a call, with the wait for its turn: at most `in_progress_max` requests are in
        progress at once, and the others wait.
    response_timeout_s: from the turn of a request to the last byte of the response. If the gateway
        responds to no request for this time, those that wait end, too.
    retries: of a verification for which no connection was established. Any other may have been
        counted, so it is not sent again.
    fail_open: the result if the gateway makes no decision: it cannot be reached, responds too late,
        with 408, 429 or 5xx, or not with a decision. False (fail closed): not valid, with the code
        UNAVAILABLE, for which middleware returns 503. True: valid, with the code UNAVAILABLE and
        without a key. Whoever overloads the gateway can then use the service without a key.
    cache_s: lifetime of allowed decisions in a cache, at most 60. Default: no cache. A revoked or
        changed key is accepted for this time after every gateway denies it. A request that is
        answered from the cache counts against no limit and has no `limits`. Decisions that consume
        credits, and those on signed requests, are not cached.
    transport: HTTP transport for tests. With one, and with a proxy of the environment, timeouts are
        for each step of a request.
    """

    def __init__(
        self,
        gateway: str,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        response_timeout_s: float = RESPONSE_TIMEOUT_S,
        in_progress_max: int = IN_PROGRESS_MAX,
        retries: Retries = RETRIES,
        fail_open: bool = False,
        cache_s: float = 0.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        check_positive(timeout_s, response_timeout_s, in_progress_max)
        step_s = min(timeout_s, response_timeout_s)
        headers = {} if token is None else {"Authorization": f"Bearer {credential('token', token)}"}
        super().__init__(
            "gateway", gateway, headers, retries, timeout_s=step_s, transport=transport
        )
        self._fail_open = fail_open
        self._cache = DecisionCache(cache_s)
        self._timeout_s = timeout_s
        self._connections = None
        if transport is None and not (uses_proxy(self.url) and getproxies()):
            self._connections = AsyncConnections(
                httpx.URL(self.url), self._options(headers, step_s, None), in_progress_max, step_s
            )

    async def aclose(self) -> None:
        await super().aclose()
        if self._connections:
            await self._connections.aclose()

    async def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        request: SignedRequestInput | None = None,
    ) -> Verification:
        """The decision on a key and the request for which it is used.

        scopes: that the key must have. core: Core to access. cost: credits to consume; 0: count
        nothing. address, method: of the client's request; otherwise, restrictions apply to the
        address of this service, and keys with methods permit every method. request: the signed
        request, for keys that require signatures.

        Raises BadRequest if the request is malformed, such as a token of 10,000 characters, and
        ApiError if the URL is not that of a gateway.
        """
        body = verification_request(token, scopes, core, cost, address, method, request)
        if cached := self._cache.get(body):
            return cached
        try:
            reply = await self._send("POST", VERIFY, json=body)
            decided = decision(self._decode(Verification, reply), reply)
            self._cache.put(body, decided)
            return decided
        except ApiError as exc:
            return without_decision(exc, self._fail_open)

    async def take(
        self, limit: str, subject: str, *, cost: int = 1, dry_run: bool = False
    ) -> Taken:
        """Counts units of a limit for a subject without a key, such as a user or an address.
        dry_run: counts nothing. Raises NotFound if no limit has the name, and the ApiError of a
        token that is missing or lacks `role:service`.
        """
        takes: list[Take] = [{"limit": limit, "subject": subject, "cost": cost}]
        return await self.take_all(takes, dry_run=dry_run)

    async def take_all(self, takes: Iterable[Take], *, dry_run: bool = False) -> Taken:
        """As `take`, for several limits. If one of them is exceeded, nothing is counted."""
        try:
            reply = await self._send("POST", TAKE, json=take_request(takes, dry_run))
            return structs.replace(self._decode(Taken, reply), headers=passed_on(reply), error="")
        except ApiError as exc:
            return taken_without_decision(exc, self._fail_open)

    async def _exchange(
        self, method: str, path: str, arguments: dict[str, Any], deadline: float
    ) -> Reply:
        if self._connections is None:
            return await super()._exchange(method, path, arguments, deadline)
        body = msgspec.json.encode(arguments["json"])
        return await self._connections.post(path, body, deadline)

    async def revoke_self(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key of the token. Raises Unauthorized if it is no active or disabled key."""
        body = {"token": credential("token", token), "reason": reason}
        reply = await self._send("POST", REVOKE_SELF, CONNECTION_LOST, json=body)
        return self._decode(SelfRevocationResponse, reply)
