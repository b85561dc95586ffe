"""The Lambda runtime API for one function, and its pending invocations.

Source: Lambda Developer Guide, "Using the Lambda runtime API".
"""

import json
import queue
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

TIMEOUT_S = 20.0
INVOCATION = "/2018-06-01/runtime/invocation/"
_SERVER_HEADERS = frozenset({"content-length", "connection", "transfer-encoding"})


class Invocations:
    """Pending events, and the responses of the function, keyed by request ID."""

    def __init__(self) -> None:
        self.pending: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._responses: dict[str, queue.Queue[dict[str, Any] | None]] = {}

    def invoke(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The response from the function; None if the function failed or timed out."""
        request_id = event["requestContext"]["requestId"]
        response = self._responses[request_id] = queue.Queue()
        self.pending.put((request_id, json.dumps(event).encode()))
        try:
            return response.get(timeout=TIMEOUT_S)
        except queue.Empty:
            return None
        finally:
            del self._responses[request_id]

    def respond(self, request_id: str, body: dict[str, Any] | None) -> None:
        """Store the response of an invocation. A response after the timeout is ignored."""
        if request_id in self._responses:
            self._responses[request_id].put(body)


class HttpHandler(BaseHTTPRequestHandler):
    """Base of the HTTP servers: reads and sends whole bodies. Does not log, because the function
    logs its requests without paths."""

    protocol_version = "HTTP/1.1"
    invocations: Invocations

    def read_body(self) -> bytes:
        """The body of the request, which the runtime client sends in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status: int, headers: Mapping[str, Sequence[str]], body: bytes = b"") -> None:
        self.send_response_only(status)
        for name, values in headers.items():
            for value in values if name.lower() not in _SERVER_HEADERS else []:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log."""


class RuntimeApi(HttpHandler):
    """The Lambda runtime API."""

    arn: str

    def do_GET(self) -> None:
        request_id, event = self.invocations.pending.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": [request_id],
            "Lambda-Runtime-Deadline-Ms": [str(int((time.time() + TIMEOUT_S) * 1000))],
            "Lambda-Runtime-Invoked-Function-Arn": [self.arn],
            "Content-Type": ["application/json"],
        }
        self.send(200, headers, event)

    def do_POST(self) -> None:
        body = self.read_body()
        request_id, _, action = self.path.removeprefix(INVOCATION).partition("/")
        if action == "response":
            self.invocations.respond(request_id, json.loads(body))
        elif action == "error":
            self.invocations.respond(request_id, None)
        self.send(202, {})
