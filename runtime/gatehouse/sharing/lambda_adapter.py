"""A service as a Lambda function behind a REST API: the proxy event becomes a request, the answer a proxy response.

Mangum does the translation. Held here: nothing but a REST API's proxy event is taken, since other gateways tell the source
address elsewhere; the peer is the `sourceIp` that API Gateway saw, never X-Forwarded-For; several Cookie headers are one, with
semicolons; an answer to HEAD has no body, which a server would see to.

Source: docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mangum import Mangum
from mangum.types import LambdaContext

from gatehouse.http import asgi

Event = dict[str, Any]
Handler = Callable[[Event, LambdaContext], dict[str, Any]]


class NotARequest(Exception):
    """The event is no proxy event of a REST API. The text names what is missing, never a value."""


def adapted(app: asgi.App) -> Handler:
    """The handler of a service. It raises NotARequest; what goes wrong in the service is answered by the service."""
    # Services start in their constructors; a function has no moment at which it ends.
    serve = Mangum(app, lifespan="off")  # type: ignore[arg-type]  # the same callable by another name
    loop = asyncio.new_event_loop()

    def handler(event: Event, context: LambdaContext) -> dict[str, Any]:
        # Mangum takes the loop of the thread, which newer Pythons no longer make by themselves.
        asyncio.set_event_loop(loop)
        answer = serve(_request(event), context)
        return {**answer, "body": "", "isBase64Encoded": False} if event["httpMethod"] == "HEAD" else answer

    return handler


def _request(event: Event) -> Event:
    around = event.get("requestContext")
    missing = [name for name in ("resource", "path", "httpMethod") if not isinstance(event.get(name), str)]
    if not isinstance(around, Mapping) or not isinstance(around.get("identity"), Mapping):
        missing.append("requestContext.identity")
    elif not isinstance(around["identity"].get("sourceIp"), str):
        missing.append("requestContext.identity.sourceIp")
    if missing or "version" in event or "elb" in (around or {}):
        lacks = f"it lacks {', '.join(missing)}" if missing else "it comes from another kind of gateway"
        raise NotARequest(f"this function answers proxy events of a REST API alone, and this event is none: {lacks}")
    return {**event, "multiValueHeaders": _one_cookie_header(event.get("multiValueHeaders") or {})}


def _one_cookie_header(headers: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """RFC 9113, 8.2.3: cookies that came in several fields are joined with "; ", unlike any other header."""
    return {
        name: ["; ".join(values)] if name.lower() == "cookie" and isinstance(values, list) else values
        for name, values in headers.items()
    }
