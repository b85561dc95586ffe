"""API Gateway and Lambda for one deployed function, on this machine: an HTTP door in front of the function's own command.

Run as a module: `python -m sandbox.local.lambda_runtime_api <port of the door> <port of the runtime API>`, with what is deployed as JSON in
SANDBOX_API (see `sandbox.local.lambda_service.Api`). A request whose method the deployed API has becomes the proxy event that a REST API
sends, and the function, which asks for events at the runtime API, answers it; any other request gets the gateway's own deployed
answer. Limits, the check of bodies and the firewall are not here.

Sources: API Gateway developer guide, "Input format of a Lambda function for proxy integration"; Lambda developer guide, "Using
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
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
TIMEOUT_S = 20.0
_INVOCATION = "/2018-06-01/runtime/invocation/"
_BY_THE_SERVER = frozenset({"content-length", "connection", "transfer-encoding"})


class Line:
    """Events that wait for the function, and its answers by request id."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: dict[str, queue.Queue[dict[str, Any] | None]] = {}

    def ask(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The function's answer; None when it failed, or took too long."""
        request = event["requestContext"]["requestId"]
        answer = self._answers[request] = queue.Queue()
        self.waiting.put((request, json.dumps(event).encode()))
        try:
            return answer.get(timeout=TIMEOUT_S)
        except queue.Empty:
            return None
        finally:
            del self._answers[request]

    def answer(self, request: str, body: dict[str, Any] | None) -> None:
        """Hand an answer on; one that nobody waits for any more is dropped."""
        if request in self._answers:
            self._answers[request].put(body)


def proxy_event(api: dict[str, Any], method: str, target: str, headers: Message, body: bytes, peer: str) -> dict[str, Any]:
    """The event of one request. Values that AWS makes and that nothing here reads are left out."""
    parts = urlsplit(target)
    resource = "/" if parts.path == "/" else "/{proxy+}"
    several: dict[str, list[str]] = {}
    for name, value in headers.items():
        several.setdefault(name, []).append(value)
    several |= {"Host": [api["host"]], "X-Forwarded-Proto": ["https"], "X-Forwarded-Port": ["443"]}
    several["X-Forwarded-For"] = [*several.get("X-Forwarded-For", []), peer]
    query = parse_qs(parts.query, keep_blank_values=True)
    try:
        text, coded = body.decode(), False
    except UnicodeDecodeError:
        text, coded = base64.b64encode(body).decode("ascii"), True
    return {
        "resource": resource,
        "path": parts.path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in several.items()},
        "multiValueHeaders": several,
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
        "isBase64Encoded": coded,
    }


class _Door(BaseHTTPRequestHandler):
    """What API Gateway is to a caller."""

    protocol_version = "HTTP/1.1"
    api: dict[str, Any]
    line: Line

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        resource = "/" if path == "/" else "/{proxy+}"
        if self.command not in self.api["methods"].get(resource, []):
            self._own("MISSING_AUTHENTICATION_TOKEN")
            return
        event = proxy_event(self.api, self.command, self.path, self.headers, body, self.client_address[0])
        answer = self.line.ask(event)
        if answer is None:
            self._own("DEFAULT_5XX")
            return
        several = {name: list(values) for name, values in (answer.get("multiValueHeaders") or {}).items()}
        for name, value in (answer.get("headers") or {}).items():
            several.setdefault(name, [value])
        text = answer.get("body") or ""
        self._send(answer["statusCode"], several, base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode())

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _own(self, kind: str) -> None:
        own = self.api["answers"][kind]
        self._send(own["status"], {"Content-Type": ["application/json"], **own["headers"]}, own["body"].encode())

    def _send(self, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, values in headers.items():
            for value in values if name.lower() not in _BY_THE_SERVER else []:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The function logs its requests itself, and without paths."""


class _RuntimeApi(BaseHTTPRequestHandler):
    """What Lambda is to a function."""

    protocol_version = "HTTP/1.1"
    line: Line
    arn: str

    def do_GET(self) -> None:
        request, event = self.line.waiting.get()
        self.send_response_only(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", request)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIMEOUT_S) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", self.arn)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        body = _body(self)
        request, _, what = self.path.removeprefix(_INVOCATION).partition("/")
        if what == "response":
            self.line.answer(request, json.loads(body))
        elif what == "error":
            self.line.answer(request, None)
        self.send_response_only(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Its traffic says nothing that the door's does not."""


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """The runtime client sends answers in chunks."""
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    found = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        found += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return found


def main(door: int, runtime: int, api: dict[str, Any]) -> None:
    """Serve until the process is stopped."""
    line = Line()
    asked = ThreadingHTTPServer((HOST, runtime), type("RuntimeApi", (_RuntimeApi,), {"line": line, "arn": api["arn"]}))
    threading.Thread(target=asked.serve_forever, name="runtime-api", daemon=True).start()
    ThreadingHTTPServer((HOST, door), type("Door", (_Door,), {"line": line, "api": api})).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(os.environ["SANDBOX_API"]))
