"""Emulates API Gateway and Lambda: an HTTP server that responds like the deployed REST API and
invokes the handler of its function.

Run as a module: `python -m sandbox.local.functions.api_gateway <port> <module.function>`, with the
variables of the function and the deployed API (`Api`) as JSON in SANDBOX_API. A request for a
method of the API is converted to the event of a proxy integration, and the handler runs for one
event at a time. Other requests get the deployed gateway response. Throttling, request validation
and WAF are not emulated. `lambda_functions.py` reads the deployed API.

Source: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".
"""

import base64
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sandbox.local.functions.lambda_handler_process import load
from sandbox.ports import HOST

TIMEOUT_S = 20.0
_SERVER_HEADERS = frozenset({"content-length", "connection", "transfer-encoding"})


@dataclass(frozen=True)
class Api:
    """The deployed REST API.

    methods: HTTP methods, keyed by path. responses: status, headers and body, keyed by gateway
    response type. arn: ARN of the function.
    """

    host: str
    methods: Mapping[str, list[str]]
    responses: Mapping[str, Mapping[str, Any]]
    arn: str


def proxy_event(
    api: Api, method: str, target: str, headers: Message, body: bytes, peer: str
) -> dict[str, Any]:
    """The event of a proxy integration for one request, without values that the runtime does not
    read.
    """
    parts = urlsplit(target)
    multi_headers: dict[str, list[str]] = {}
    for name, value in headers.items():
        multi_headers.setdefault(name, []).append(value)
    multi_headers |= {
        "Host": [api.host],
        "X-Forwarded-Proto": ["https"],
        "X-Forwarded-Port": ["443"],
    }
    multi_headers["X-Forwarded-For"] = [*multi_headers.get("X-Forwarded-For", []), peer]
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode("ascii"), True
    return {
        "resource": "/" if parts.path == "/" else "/{proxy+}",
        "path": parts.path,
        "httpMethod": method,
        "multiValueHeaders": multi_headers,
        "multiValueQueryStringParameters": parse_qs(parts.query, keep_blank_values=True),
        "requestContext": {"identity": {"sourceIp": peer}},
        "body": text or None,
        "isBase64Encoded": encoded,
    }


def invoker(handler: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """A function that returns the response of a handler to an event; None if the handler failed or
    timed out. The error is printed in one line, without a traceback, which could show secret
    values.
    """
    handle, executor = load(handler), ThreadPoolExecutor(max_workers=1)

    def invoke(event: dict[str, Any]) -> dict[str, Any] | None:
        try:
            response: dict[str, Any] = json.loads(
                executor.submit(lambda: json.dumps(handle(event, None))).result(TIMEOUT_S)
            )
        except Exception as problem:
            sys.stderr.write(f"{handler}: {problem!r}\n")
            return None
        return response

    return invoke


class _RestApi(BaseHTTPRequestHandler):
    """The REST API. Does not log, because the function logs its requests without paths."""

    protocol_version = "HTTP/1.1"
    api: Api
    invoke: Callable[[dict[str, Any]], dict[str, Any] | None]

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        resource = "/" if path == "/" else "/{proxy+}"
        if self.command not in self.api.methods.get(resource, []):
            self._send_gateway_response("MISSING_AUTHENTICATION_TOKEN")
            return
        event = proxy_event(
            self.api, self.command, self.path, self.headers, body, self.client_address[0]
        )
        response = self.invoke(event)
        if response is None:
            self._send_gateway_response("DEFAULT_5XX")
            return
        headers = {name: [value] for name, value in (response.get("headers") or {}).items()}
        text = response.get("body") or ""
        content = base64.b64decode(text) if response.get("isBase64Encoded") else text.encode()
        headers |= response.get("multiValueHeaders") or {}
        self._send(response["statusCode"], headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request

    def _send_gateway_response(self, kind: str) -> None:
        response = self.api.responses[kind]
        self._send(
            response["status"],
            {"Content-Type": ["application/json"], **response["headers"]},
            response["body"].encode(),
        )

    def _send(self, status: int, headers: Mapping[str, Sequence[str]], body: bytes) -> None:
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


def main(port: int, handler: str, api: Api) -> None:
    """Serve until the process is stopped."""
    server = {"api": api, "invoke": staticmethod(invoker(handler))}
    ThreadingHTTPServer((HOST, port), type("RestApi", (_RestApi,), server)).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Api(**json.loads(os.environ["SANDBOX_API"])))
