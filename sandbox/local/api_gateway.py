"""Emulates API Gateway: an HTTP server that responds like the deployed REST API and invokes its
Lambda function.

Run as a module: `python -m sandbox.local.api_gateway <service port> <runtime API port>`, with the
deployed API (`Api`) as JSON in SANDBOX_API. A request for a method of the API is converted to the
event of a proxy integration. The function reads the event from the Lambda runtime API and posts its
response there. Other requests get the deployed gateway response. Throttling, request validation and
WAF are not emulated. `lambda_functions.py` reads the deployed API.

Source: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".
"""

import base64
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sandbox.local.lambda_runtime_api import HttpHandler, Invocations, RuntimeApi
from sandbox.ports import HOST


@dataclass(frozen=True, slots=True)
class Api:
    """The deployed REST API.

    methods: HTTP methods, keyed by path. responses: status, headers and body, keyed by gateway
    response type. arn: ARN of the function.
    """

    id: str
    account: str
    host: str
    stage: str
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
    resource = "/" if parts.path == "/" else "/{proxy+}"
    multi_headers: dict[str, list[str]] = {}
    for name, value in headers.items():
        multi_headers.setdefault(name, []).append(value)
    multi_headers |= {
        "Host": [api.host],
        "X-Forwarded-Proto": ["https"],
        "X-Forwarded-Port": ["443"],
    }
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
            "accountId": api.account,
            "apiId": api.id,
            "domainName": api.host,
            "httpMethod": method,
            "identity": {"sourceIp": peer, "userAgent": headers.get("User-Agent")},
            "path": parts.path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTimeEpoch": int(time.time() * 1000),
            "resourcePath": resource,
            "stage": api.stage,
        },
        "body": text or None,
        "isBase64Encoded": encoded,
    }


class _RestApi(HttpHandler):
    """The REST API."""

    api: Api

    def handle_request(self) -> None:
        body = self.read_body()
        path = urlsplit(self.path).path
        resource = "/" if path == "/" else "/{proxy+}"
        if self.command not in self.api.methods.get(resource, []):
            self._send_gateway_response("MISSING_AUTHENTICATION_TOKEN")
            return
        event = proxy_event(
            self.api, self.command, self.path, self.headers, body, self.client_address[0]
        )
        response = self.invocations.invoke(event)
        if response is None:
            self._send_gateway_response("DEFAULT_5XX")
            return
        headers = {name: [value] for name, value in (response.get("headers") or {}).items()}
        text = response.get("body") or ""
        content = base64.b64decode(text) if response.get("isBase64Encoded") else text.encode()
        self.send(
            response["statusCode"],
            {**headers, **(response.get("multiValueHeaders") or {})},
            content,
        )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request

    def _send_gateway_response(self, kind: str) -> None:
        response = self.api.responses[kind]
        self.send(
            response["status"],
            {"Content-Type": ["application/json"], **response["headers"]},
            response["body"].encode(),
        )


def main(port: int, runtime_port: int, api: Api) -> None:
    """Serve until the process is stopped."""
    invocations = Invocations()
    runtime_api = type("RuntimeApi", (RuntimeApi,), {"invocations": invocations, "arn": api.arn})
    runtime_server = ThreadingHTTPServer((HOST, runtime_port), runtime_api)
    threading.Thread(target=runtime_server.serve_forever, name="runtime-api", daemon=True).start()
    ThreadingHTTPServer(
        (HOST, port), type("RestApi", (_RestApi,), {"invocations": invocations, "api": api})
    ).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Api(**json.loads(os.environ["SANDBOX_API"])))
