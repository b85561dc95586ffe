"""GET /v1/keys/verify: the key in a header, the decision in the status alone; for `auth_request` of nginx and its like.

Optional query: `scope` (may repeat), `core` and `method`, what the key is needed for. The address is the caller's own, behind
trusted proxies the one that they name.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from gatehouse.doors import asgi
from gatehouse.doors.gateway import credential
from gatehouse.doors.gateway.exchange import Exchange
from gatehouse.flows.admit import Admission
from gatehouse.observe import Metrics
from gatehouse.types import Question
from gatehouse.wire.body import bad_member, check_query
from gatehouse.wire.verify import check_needs, limit_headers


class VerifyHeader:
    def __init__(self, admission: Admission, addresses: asgi.ClientAddresses, metrics: Metrics) -> None:
        self._admission = admission
        self._addresses = addresses
        self._metrics = metrics

    async def __call__(self, exchange: Exchange) -> None:
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


def _question(query: bytes, address: str) -> Question:
    if not query:
        return Question(address=address)
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
    return Question(scopes=tuple(scopes), core=core, address=address, method=method)
