# Derived from _async by `make docs`. Do not edit.
"""Connections to one service, for short requests. httpcore manages each connection. The client of
httpx and its pool would double the CPU time of a request, and the pool searches all requests that
wait for each response.
"""

from collections import deque
from time import monotonic
from typing import Any

import httpcore
import httpx

from gatehouse_client.errors import Reply
from gatehouse_client.io import TimeLimit, Turns
from gatehouse_client.transport import check_encoding, check_size

_IDLE_S_MAX = 5.0
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


class Connections:
    """Has at most `in_progress_max` requests in progress. Others wait for their turn.

    url: of the service. options: those of httpx. timeout_s: from the turn of a request to the last
    byte of its response.
    """

    def __init__(
        self, url: httpx.URL, options: dict[str, Any], in_progress_max: int, timeout_s: float
    ) -> None:
        self._url = url
        port = url.port or (443 if url.scheme == "https" else 80)
        self._origin = httpcore.Origin(url.raw_scheme, url.raw_host, port)
        self._tls = options["verify"]
        headers = {"Host": url.netloc.decode(), "Content-Type": "application/json"}
        self._headers = httpx.Headers({**headers, **options["headers"]}).raw
        self._turns = Turns(in_progress_max)
        self._response_timeout_s = timeout_s
        self._responded_at = 0.0
        self._idle: deque[tuple[TimeLimit, httpcore.HTTPConnection]] = deque()

    def post(self, path: str, body: bytes, deadline: float) -> Reply:
        """The response, by the deadline (`time.monotonic`). Raises the errors of httpx: PoolTimeout
        if the request had no turn, and ReadTimeout if it or the service was too slow.
        """
        start = monotonic()
        self._turns.acquire(deadline)
        try:
            now = monotonic()
            # A service that does not respond takes no more requests from the queue.
            if now - max(start, self._responded_at) > self._response_timeout_s:
                raise httpx.ReadTimeout("")
            return self._respond(path, body, min(deadline, now + self._response_timeout_s))
        except TimeoutError:
            raise httpx.ReadTimeout("") from None
        except _FAILURES as exc:
            raise getattr(httpx, type(exc).__name__)("") from exc
        finally:
            self._turns.release()

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def _respond(self, path: str, body: bytes, deadline: float) -> Reply:
        limit, connection = self._connection()
        target = self._url.raw_path.rstrip(b"/") + path.encode()
        request = httpcore.Request(
            "POST",
            httpcore.URL(
                scheme=self._origin.scheme,
                host=self._origin.host,
                port=self._origin.port,
                target=target,
            ),
            headers=[*self._headers, (b"Content-Length", b"%d" % len(body))],
            content=body,
        )
        with limit.until(deadline):
            received = connection.handle_request(request)
            try:
                content = bytearray()
                for part in received.iter_stream():
                    content += part
                    check_size(len(content))
            finally:
                received.close()
        self._responded_at = monotonic()
        if connection.is_idle():
            self._idle.append((limit, connection))
        response = Reply(received.status, httpx.Headers(received.headers), bytes(content))
        check_encoding(response)
        return response

    def _connection(self) -> tuple[TimeLimit, httpcore.HTTPConnection]:
        """The connection that was used last, because others may expire. One expired is closed."""
        if self._idle and self._idle[0][1].has_expired():
            self._idle.popleft()[1].close()
        while self._idle:
            limit, connection = self._idle.pop()
            if not connection.has_expired():
                return limit, connection
            connection.close()
        limit = TimeLimit()
        return limit, httpcore.HTTPConnection(
            self._origin,
            ssl_context=self._tls,
            keepalive_expiry=_IDLE_S_MAX,
            network_backend=limit.backend,
        )
