"""Lambda handler for an ASGI application behind an API Gateway REST API (Lambda proxy integration),
based on Mangum.

The handler accepts only proxy events from a REST API, because other event sources send the client
address in other fields. The client address is the `sourceIp` from API Gateway, never
X-Forwarded-For. The handler joins multiple Cookie headers.

Source:
    docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from mangum import Mangum
from mangum.types import LambdaContext
from starlette.types import ASGIApp, Receive, Scope, Send

#: Set by Lambda for each invocation (Lambda Developer Guide, "Using Lambda environment variables").
TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
_TRACE_HEADERS = ("traceparent", "tracestate", "x-amzn-trace-id")

# Mangum logs paths, which may contain links or tokens, at the level INFO, the default in Lambda.
logging.getLogger("mangum").setLevel("ERROR")

Event = dict[str, Any]
Handler = Callable[[Event, LambdaContext], dict[str, Any]]


class UnsupportedEvent(Exception):
    """The event is not a proxy event from a REST API. The message contains no values."""


def lambda_handler(app: ASGIApp) -> Handler:
    """Return the Lambda handler for an application. The handler raises UnsupportedEvent."""
    # The application needs no startup events, and a Lambda function has no shutdown event.
    serve = Mangum(_with_raw_path(app), lifespan="off")  # type: ignore[arg-type]  # Mangum declares other types for the same protocol
    loop = asyncio.new_event_loop()

    def handler(event: Event, context: LambdaContext) -> dict[str, Any]:
        # Mangum uses the thread's current event loop, which Python 3.12 and later versions do not
        # create automatically.
        asyncio.set_event_loop(loop)
        return serve(_request(event), context)

    return handler


def _with_raw_path(app: ASGIApp) -> ASGIApp:
    """Add `raw_path`, which Mangum does not set, to the scope of each request."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raw_path = quote(scope["path"], safe="/%:@!$&'()*+,;=").encode()
        await app({**scope, "raw_path": raw_path}, receive, send)

    return application


def _request(event: Event) -> Event:
    """Return the event with one Cookie header (RFC 9113, section 8.2.3) and the trace context of
    Lambda.
    """
    match event:
        # HTTP APIs send a version, and load balancers send `elb`.
        case {"version": _} | {"requestContext": {"elb": _}}:
            pass
        case {
            "resource": str(),
            "path": str(),
            "httpMethod": str(),
            "requestContext": {"identity": {"sourceIp": str()}},
        }:
            # `multiValueHeaders` contains every header.
            headers = {
                name: ["; ".join(values)] if name.lower() == "cookie" else values
                for name, values in (event.get("multiValueHeaders") or {}).items()
                if name.lower() != "x-forwarded-port"  # Mangum reads it as a number
            }
            return {**event, "headers": None, "multiValueHeaders": _with_trace_context(headers)}
    raise UnsupportedEvent("the event is not a proxy event of a REST API")


def _with_trace_context(headers: dict[str, list[str]]) -> dict[str, list[str]]:
    """Replace the trace context of the client with the context of Lambda, so that the spans of the
    request belong to the trace of API Gateway and Lambda, and Lambda decides on the sampling.
    Unchanged if the function has no X-Ray tracing."""
    value = os.environ.get(TRACE_VARIABLE, "")
    if not value:
        return headers
    others = {name: item for name, item in headers.items() if name.lower() not in _TRACE_HEADERS}
    return {**others, "X-Amzn-Trace-Id": [value]}
