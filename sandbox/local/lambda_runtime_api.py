"""API Gateway and the Lambda runtime API for one deployed function.

Run as a module: `python -m sandbox.local.lambda_runtime_api <service port> <runtime API port>`, with the deployed API as JSON in
SANDBOX_API (`sandbox.local.lambda_functions.Api`). A request with a method of the API becomes the event of a proxy integration;
the function reads it from the runtime API and posts its response. Other requests get the deployed gateway response. Throttling,
request validation and WAF are not emulated.

Sources: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration"; Lambda Developer Guide, "Using
the Lambda runtime API".
"""

import base64
import json
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
TIMEOUT_S = 20.0
_INVOCATION = "/2018-06-01/runtime/invocation/"
_SERVER_HEADERS = frozenset({"content-length", "connection", "transfer-encoding"})


class Invocations:
    """Pending events, and the responses of the function by request id."""

    def __init__(self) -> None:
        self.pending: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._responses: dict[str, queue.Queue[dict[str, Any] | None]] = {}

    def invoke(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The response of the function; None if it failed or timed out."""
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


def proxy_event(api: dict[str, Any], method: str, target: str, headers: Message, body: bytes, peer: str) -> dict[str, Any]:
    """The event of a proxy integration for one request, without values that the runtime does not read."""
    parts = urlsplit(target)
    resource = "/" if parts.path == "/" else "/{proxy+}"
    multi_headers: dict[str, list[str]] = {}
    for name, value in headers.items():
        multi_headers.setdefault(name, []).append(value)
    multi_headers |= {"Host": [api["host"]], "X-Forwarded-Proto": ["https"], "X-Forwarded-Port": ["443"]}
    multi_headers["X-Forwarded-For"] = [*multi_headers.get("X-Forwarded-For", []), peer]
    query = parse_qs(parts.query, keep_blank_values=True)
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode("ascii"), True
    return {
        "resource": resource,
        "path": parts.path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in multi_headers.items()},
        "multiValueHeaders": multi_headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": None if resource == "/" else {"proxy": parts.path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": api["account"],
            "apiId": api["id"],
            "domainName": api["host"],
            "httpMethod": method,
            "identity": {"sourceIp": peer, "userAgent": headers.get("User-Agent")},
            "path": parts.path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTimeEpoch": int(time.time() * 1000),
            "resourcePath": resource,
            "stage": api["stage"],
        },
        "body": text or None,
        "isBase64Encoded": encoded,
    }


class _Handler(BaseHTTPRequestHandler):
    """Reads and sends whole bodies. Does not log: the function logs its requests, without paths."""

    protocol_version = "HTTP/1.1"
    invocations: Invocations

    def read_body(self) -> bytes:
        """The body of the request; the runtime client sends it chunked."""
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


class _ApiGateway(_Handler):
    """The REST API."""

    api: dict[str, Any]

    def handle_request(self) -> None:
        body = self.read_body()
        path = urlsplit(self.path).path
        resource = "/" if path == "/" else "/{proxy+}"
        if self.command not in self.api["methods"].get(resource, []):
            self._send_gateway_response("MISSING_AUTHENTICATION_TOKEN")
            return
        event = proxy_event(self.api, self.command, self.path, self.headers, body, self.client_address[0])
        response = self.invocations.invoke(event)
        if response is None:
            self._send_gateway_response("DEFAULT_5XX")
            return
        headers = {name: [value] for name, value in (response.get("headers") or {}).items()}
        text = response.get("body") or ""
        content = base64.b64decode(text) if response.get("isBase64Encoded") else text.encode()
        self.send(response["statusCode"], {**headers, **(response.get("multiValueHeaders") or {})}, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request

    def _send_gateway_response(self, kind: str) -> None:
        response = self.api["responses"][kind]
        self.send(response["status"], {"Content-Type": ["application/json"], **response["headers"]}, response["body"].encode())


class _RuntimeApi(_Handler):
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
        request_id, _, action = self.path.removeprefix(_INVOCATION).partition("/")
        if action == "response":
            self.invocations.respond(request_id, json.loads(body))
        elif action == "error":
            self.invocations.respond(request_id, None)
        self.send(202, {})


def main(port: int, runtime_port: int, api: dict[str, Any]) -> None:
    """Serve until the process is stopped."""
    invocations = Invocations()
    runtime_api = type("RuntimeApi", (_RuntimeApi,), {"invocations": invocations, "arn": api["arn"]})
    runtime_server = ThreadingHTTPServer((HOST, runtime_port), runtime_api)
    threading.Thread(target=runtime_server.serve_forever, name="runtime-api", daemon=True).start()
    ThreadingHTTPServer((HOST, port), type("Api", (_ApiGateway,), {"invocations": invocations, "api": api})).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(os.environ["SANDBOX_API"]))
