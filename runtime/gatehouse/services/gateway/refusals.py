"""Responses to denied requests with a large body.

Many HTTP clients read no response before they have sent the whole body, and Envoy would close the
connection before that, which resets it. Envoy therefore sends the body to a worker, which discards
it and then responds. The response is in a header of the request, so that any worker can respond.
"""

import base64

from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import BUFFER_BYTES, REFUSAL, SAFE_METHODS, class_of
from gatehouse.platform.web import asgi
from gatehouse.platform.web.request import Request
from gatehouse.services.gateway.local_server import LocalConnection, encode_response

#: Of a larger body, the rest is not read. Maximum time without data from the client.
BYTES_MAX = 64 << 20
_IDLE_S = 10


def is_needed(request: Request) -> bool:
    """True if the request has a body that a client can still be sending."""
    length = request.header(proxy_headers.LENGTH)
    if request.has(b"expect"):  # the client waits for a response
        return False
    if length.isdigit():
        return BUFFER_BYTES < int(length) <= BYTES_MAX
    return request.method not in SAFE_METHODS


def permission(response: asgi.Response) -> asgi.Response:
    """The response of a check with which Envoy sends the request to a worker."""
    headers = [
        (proxy_headers.CLUSTER, REFUSAL.encode()),
        (proxy_headers.PATH, b"/"),
        (proxy_headers.CLASS, class_of(_IDLE_S, "POST").encode()),
        (proxy_headers.REFUSAL, base64.b64encode(encode_response(response))),
        (b"content-length", b"0"),
    ]
    return asgi.Response(200, headers, b"")


class RefusalConnection(LocalConnection):
    """A connection of Envoy with requests that were denied."""

    __slots__ = ("_size",)

    def __init__(self) -> None:
        super().__init__(_no_process)
        self._size = 0

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > BYTES_MAX:
            self._refuse()  # Envoy closes both connections

    def on_message_complete(self) -> None:
        self._refuse()
        self._target, self._size = b"", 0

    def _refuse(self) -> None:
        if self._fields:
            self._transport.write(base64.b64decode(dict(self._fields)[proxy_headers.REFUSAL]))
            self._fields = []


async def _no_process(_: object) -> None:
    raise RuntimeError("the request was denied")
