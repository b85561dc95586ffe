"""The adapter between Envoy and the decision: what a connection of Envoy contains of a request, and
how a decision is encoded for Envoy. For requests to Cores, Envoy asks by ext_authz.

Envoy joins the values of a repeated header of a check with a comma. Source:
www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/ext_authz_filter
"""

import asyncio
import base64
from collections.abc import Awaitable, Sequence

from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import DENIED_503, UPLOAD_CLUSTER
from gatehouse.platform.web import responses
from gatehouse.services.gateway import uploads
from gatehouse.services.gateway.completions import Completions
from gatehouse.services.gateway.decide import Decide, Forward
from gatehouse.services.gateway.local_server import LocalConnection, encode_headers, encode_response

#: The event loop has only weak references to tasks.
_tasks: set[asyncio.Task[None]] = set()


class ApiConnection(LocalConnection):
    """A connection with requests to the endpoints of the gateway."""

    __slots__ = ("_decide", "_peer")

    def __init__(self, decide: Decide, body_max_bytes: int | None) -> None:
        super().__init__(body_max_bytes)
        self._decide, self._peer = decide, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == proxy_headers.PEER:
            self._peer = value
        else:
            self._fields.append((name, value))

    def received(
        self, method: str, target: bytes, fields: list[responses.Header], body: bytes
    ) -> None:
        connection, self._peer = self._peer.decode("latin-1"), b""
        peer, tls, length = (*connection.split(" ", 2), "", "")[:3]
        fields, is_gone = self._framed(fields, length), self._transport.is_closing
        tls = "" if tls == "-" else tls
        result = self._decide(method, target, fields, body, peer, tls, is_gone)
        if isinstance(result, responses.Response | Forward):
            self.send(result, method, fields)
        else:
            task = asyncio.get_running_loop().create_task(self._send_later(result, method, fields))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def _framed(self, fields: list[responses.Header], _: str) -> list[responses.Header]:
        """The headers with the length or the transfer coding of the client."""
        return fields

    async def _send_later(
        self,
        result: Awaitable[responses.Response | Forward],
        method: str,
        fields: list[responses.Header],
    ) -> None:
        self.send(await result, method, fields)  # to a connection that can be closed

    def send(
        self, result: responses.Response | Forward, method: str, fields: list[responses.Header]
    ) -> None:
        assert isinstance(result, responses.Response)  # noqa: S101 - only a check forwards a request
        self.respond(result)


class CheckConnection(ApiConnection):
    """A connection with checks of requests to Cores."""

    __slots__ = ("_completions", "_forwarded")

    def __init__(self, decide: Decide, completions: Completions) -> None:
        super().__init__(decide, None)
        self._completions, self._forwarded = completions, ""

    def _framed(self, fields: list[responses.Header], framing: str) -> list[responses.Header]:
        """Envoy replaces the framing of the request by that of the body that the check contains."""
        self._forwarded = ""
        fields = [field for field in fields if field[0] != b"content-length"]
        if framing not in ("", "-"):
            name = b"content-length" if framing.isdigit() else b"transfer-encoding"
            fields.append((name, framing.encode("latin-1")))
        return fields

    def _write(self, data: bytes) -> None:
        super()._write(data)
        if self._transport.is_closing():
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Envoy may not have received the last response, because the client disconnected."""
        if self._forwarded:
            self._completions.disconnected(self._forwarded)

    def send(
        self, result: responses.Response | Forward, method: str, fields: list[responses.Header]
    ) -> None:
        if isinstance(result, Forward):
            self._forwarded = result.request_id
            self._write(_encode(result))
        elif uploads.is_needed(method, dict(reversed(fields))):
            self._write(_encode_refusal(result))
        elif result.status_code == 503:  # of which Envoy replaces the body
            self.respond(responses.Response(DENIED_503, result.raw_headers, result.body))
        else:
            self.respond(result)


def _encode(forward: Forward) -> bytes:
    """The response of a check that allows a request."""
    routing = [
        (proxy_headers.CLUSTER, forward.cluster),
        (proxy_headers.PATH, forward.path),  # Envoy adds the query
        (proxy_headers.CLASS, forward.route),
        (b"x-envoy-auth-headers-to-remove", b",".join(forward.removed)),
    ]
    if forward.urls:
        routing.append((proxy_headers.URLS, forward.urls))
    if forward.via:
        routing.append((proxy_headers.RELAY, forward.via.encode()))
    return _allow((*routing, *forward.request_headers, *forward.response_headers))


def _encode_refusal(response: responses.Response) -> bytes:
    """The response of a check with which Envoy sends a denied request to a worker."""
    encoded = base64.b64encode(encode_response(response))
    return _allow(
        ((proxy_headers.RELAY, UPLOAD_CLUSTER.encode()), (proxy_headers.REFUSAL, encoded))
    )


def _allow(headers: Sequence[responses.Header]) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: 0\r\n\r\n" % encode_headers(headers)
