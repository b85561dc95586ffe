"""The Idempotency-Key header of the management API (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from gatehouse.console.dependencies import Request
from gatehouse.http.endpoint import Endpoint, Header
from gatehouse.http.idempotency import KEY_CHARS_MAX, IdempotencyGuard, StoredResponse
from gatehouse.http.validation import invalid

REPLAYED = "Idempotency-Replayed"

HEADER = Header(
    "Idempotency-Key",
    "A unique value in double quotes, such as a UUID. A request that repeats the key within 24 hours is not processed again: it"
    f" receives the first response, including tokens, with `{REPLAYED}: true`.",
    {"type": "string", "pattern": r'^"([ !#-\[\]-~]|\\["\\])+"$', "maxLength": KEY_CHARS_MAX + 2},
    '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
)

#: A Structured Field String (RFC 9651, section 3.3.3), quotes included.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')

#: Headers that are stored with a response. Middleware adds the others.
_STORED_HEADERS = ("content-type", "etag", "location")


async def run_once(endpoint: Endpoint, request: Request, content: object, act: Callable[[], Awaitable[Response]]) -> Response:
    """The response of `act`, or the stored response of an earlier request with the same key."""
    key, dependencies = _key(request.http), request.dependencies
    if key is None or dependencies.idempotency_store is None or not endpoint.idempotent:
        return await act()

    async def store() -> StoredResponse:
        response = await act()
        headers = [(name, response.headers[name]) for name in _STORED_HEADERS if name in response.headers]
        target_id = response.headers.get("location", "").rpartition("/")[2] or str(request.http.path_params.get("id", ""))
        return StoredResponse(response.status_code, headers, bytes(response.body), target_id=target_id)

    guard = IdempotencyGuard(dependencies.idempotency_store, dependencies.clock, dependencies.pepper, dependencies.random_bytes)
    query = sorted(request.http.query_params.multi_items())
    fingerprint = json.dumps([endpoint.method, request.http.url.path, query, content], sort_keys=True).encode()
    stored = await guard.run(request.actor.label, key, request.request_id, fingerprint, store)
    replayed = {REPLAYED: "true"} if stored.replayed else {}
    return Response(stored.body, stored.status, {**dict(stored.headers), **replayed, "Cache-Control": "no-store"})


def _key(http: HttpRequest) -> str | None:
    values = http.headers.getlist(HEADER.name)
    if not values:
        return None
    match = _STRING.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None or len(match[1]) > KEY_CHARS_MAX:
        message = "is sent more than once" if len(values) > 1 else "is not a string in double quotes"
        fix = f'send {HEADER.name}: "<uuid>", including the quotes, with at most {KEY_CHARS_MAX} printable ASCII characters'
        raise invalid("header.idempotency-key", message, fix)
    return match[1]
