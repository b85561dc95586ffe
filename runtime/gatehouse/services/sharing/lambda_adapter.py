"""Lambda handler for an ASGI application behind an API Gateway REST API (Lambda proxy integration),
based on Mangum.

The handler accepts only proxy events from a REST API, because other event sources send the client
address in other fields. The client address is the `sourceIp` from API Gateway, never
X-Forwarded-For. The handler joins multiple Cookie headers and removes the body from responses to
HEAD requests.

Source:
    docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from mangum import Mangum
from mangum.types import LambdaContext

from gatehouse.platform.http import asgi

#: Set by Lambda for each invocation (Lambda Developer Guide, "Using Lambda environment variables").
TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
_TRACE_HEADERS = ("traceparent", "tracestate", "x-amzn-trace-id")

Event = dict[str, Any]
Handler = Callable[[Event, LambdaContext], dict[str, Any]]


class UnsupportedEvent(Exception):
    """The event is not a proxy event from a REST API. The message names the missing fields and
    contains no values.
    """


def lambda_handler(app: asgi.App) -> Handler:
    """Return the Lambda handler for an application. The handler raises UnsupportedEvent."""
    # The application needs no startup events, and a Lambda function has no shutdown event.
    serve = Mangum(app, lifespan="off")  # type: ignore[arg-type]  # Mangum declares other types for the same protocol
    loop = asyncio.new_event_loop()

    def handler(event: Event, context: LambdaContext) -> dict[str, Any]:
        # Mangum uses the thread's current event loop, which Python 3.12 and later versions do not
        # create automatically.
        asyncio.set_event_loop(loop)
        response = serve(_request(event), context)
        return (
            {**response, "body": "", "isBase64Encoded": False}
            if event["httpMethod"] == "HEAD"
            else response
        )

    return handler


def _request(event: Event) -> Event:
    context = event.get("requestContext")
    missing = [
        name for name in ("resource", "path", "httpMethod") if not isinstance(event.get(name), str)
    ]
    if not isinstance(context, Mapping) or not isinstance(context.get("identity"), Mapping):
        missing.append("requestContext.identity")
    elif not isinstance(context["identity"].get("sourceIp"), str):
        missing.append("requestContext.identity.sourceIp")
    if missing or "version" in event or "elb" in (context or {}):
        reason = f"missing {', '.join(missing)}" if missing else "sent by another kind of gateway"
        raise UnsupportedEvent(f"the event is not a proxy event of a REST API: {reason}")
    request = {
        **event,
        "multiValueHeaders": _one_cookie_header(event.get("multiValueHeaders") or {}),
    }
    return _with_trace_context(request)


def _with_trace_context(event: Event) -> Event:
    """Replace the trace context of the client with the context of Lambda, so that the spans of the
    request belong to the trace of API Gateway and Lambda, and Lambda decides on the sampling.
    Unchanged if the function has no X-Ray tracing."""
    value = os.environ.get(TRACE_VARIABLE, "")
    if not value:
        return event
    single, repeated = (
        {
            name: header
            for name, header in (event.get(member) or {}).items()
            if name.lower() not in _TRACE_HEADERS
        }
        for member in ("headers", "multiValueHeaders")
    )
    return {
        **event,
        "headers": single,
        "multiValueHeaders": {**repeated, "X-Amzn-Trace-Id": [value]},
    }


def _one_cookie_header(headers: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Join Cookie headers with "; " (RFC 9113, section 8.2.3). Other headers remain unchanged."""
    return {
        name: ["; ".join(values)]
        if name.lower() == "cookie" and isinstance(values, list)
        else values
        for name, values in headers.items()
    }
