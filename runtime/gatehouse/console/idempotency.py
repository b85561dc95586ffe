"""The Idempotency-Key header at the console: which requests take one, how it is read, and how an answer is given again."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from gatehouse.console.authorization import changes
from gatehouse.console.dependencies import Dependencies
from gatehouse.errors import BadRequest, Problem
from gatehouse.http.idempotency import KEY_CHARS_MAX, IdempotencyGuard, StoredResponse

HEADER = "Idempotency-Key"


REPLAYED = "Idempotency-Replayed"


#: A Structured Field String (RFC 9651, section 3.3.3), which is what the draft asks for: the quotes are part of it.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')


#: Headers of the endpoint's own that belong to an answer; the edge adds the others to a repeat as to every answer.
_KEPT = ("content-type", "etag", "location")


def takes_key(method: str, path: str) -> bool:
    """Every POST that changes something; the other methods are repeatable as they are. `path`: the template."""
    return method == "POST" and changes(method, path)


async def once(request: Request, parts: Dependencies, caller: str, act: Callable[[], Awaitable[Response]]) -> Response:
    """What `act` answers, or what it answered to the first request with this key; without the header, `act` as it is."""
    key = _key(request)
    if key is None or parts.replays is None or not takes_key(request.method, request.scope["route"].path):
        return await act()

    async def answer() -> StoredResponse:
        reply = await act()
        headers = [(name, reply.headers[name]) for name in _KEPT if name in reply.headers]
        return StoredResponse(reply.status_code, headers, bytes(reply.body), target_id=_target(request, reply))

    runner = IdempotencyGuard(parts.replays, parts.clock, parts.pepper, parts.random_bytes, (RequestValidationError,))
    content = await request.json() if await request.body() else None
    said = json.dumps(
        [request.method, request.url.path, sorted(request.query_params.multi_items()), content], sort_keys=True
    ).encode()
    found = await runner.run(caller, key, request.state.request_id, said, answer)
    replayed = {REPLAYED: "true"} if found.replayed else {}
    return Response(found.body, found.status, {**dict(found.headers), **replayed, "Cache-Control": "no-store"})


def _target(request: Request, reply: Response) -> str:
    """The id of what was made (`Location`), else of what the path names."""
    made = reply.headers.get("location", "").rpartition("/")[2]
    return made or str(request.path_params.get("id", ""))


def _key(request: Request) -> str | None:
    values = request.headers.getlist(HEADER)
    if not values:
        return None
    match = _STRING.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None or len(match[1]) > KEY_CHARS_MAX:
        message = "is sent more than once" if len(values) > 1 else "is no text in double quotes"
        fix = f'send {HEADER}: "a-uuid-of-your-own", quotes included, at most {KEY_CHARS_MAX} visible characters'
        raise BadRequest("The request cannot be read", errors=(Problem("header.idempotency-key", message, fix),))
    return match[1]
