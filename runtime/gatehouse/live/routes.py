"""Endpoint for the stream of server-sent events."""

from __future__ import annotations

import json
from functools import partial

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gatehouse.audit.schemas import AuditEventView
from gatehouse.console.authentication import current_roles
from gatehouse.console.dependencies import Request
from gatehouse.http.endpoint import SESSION, Endpoint, Header
from gatehouse.http.starlette_apps import EVENT_STREAM
from gatehouse.http.validation import invalid
from gatehouse.live.service import STREAM_READERS, EventStream
from gatehouse.usage.schemas import UsageSeries

_LAST_EVENT_ID = Header(
    name="last-event-id",
    description="The `id` of the last event that the client has received. Browsers send this header when they connect again. The"
    " stream continues after this event.",
    schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
    example="1204",
)

_CONTENT = {
    EVENT_STREAM: {
        "schema": {"type": "string", "description": "Events of the types `audit`, `usage` and `heartbeat`, with JSON data."},
        "example": f"id: 1204\nevent: audit\ndata: {json.dumps(AuditEventView.example)}\n\n"
        f"event: usage\ndata: {json.dumps(UsageSeries.example)}\n\n",
    }
}


async def stream_events(request: Request) -> StreamingResponse:
    """Stream events.

    Sends server-sent events: `audit` with a new audit event (AuditEventView) to roles that can list audit events, and `usage`
    with the requests of the current and the previous hour by result code (UsageSeries) to roles that can read usage. Sends
    `heartbeat` if there are no events. Requires a browser session and does not extend the session. The stream ends when the
    session ends.
    """
    session = request.authenticated.session
    if session is None:
        raise invalid("header.authorization", "cannot open an event stream", "send the session cookie instead")
    dependencies = request.dependencies
    stream = await dependencies.event_streams.open(
        session, request.authenticated.roles, partial(current_roles, request), last_seq=_last_seq(request)
    )
    return _EventStreamResponse(stream)


def _last_seq(request: Request) -> int | None:
    text = request.http.headers.get(_LAST_EVENT_ID.name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise invalid("header.last-event-id", "is not the ID of an event", "omit the header")
    return int(text)


class _EventStreamResponse(StreamingResponse):
    """Always closes its stream. Proxies such as nginx buffer responses unless X-Accel-Buffering is `no`."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(stream.messages(), headers=headers, media_type=EVENT_STREAM)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/event-stream",
        tag="operations",
        handler=stream_events,
        roles=STREAM_READERS,
        security=(SESSION,),
        extends_session=False,
        content=_CONTENT,
        headers=(_LAST_EVENT_ID,),
        errors=(400, 401, 403, 429, 503),
    ),
)
