"""Smoke test of a deployment: Lambda function that ECS invokes after it has shifted the test
traffic to the new tasks.

ECS invokes the function with the `hookDetails` of the service: `{"header": {"name": "...", "value":
"..."}, "checks": [{"address": "<load balancer>", "url": "https://gateway.example.com/readyz",
"status": 200}]}`. The function connects to the address, not to the host name of the URL, which has
no DNS record before the first deployment is complete, and verifies the certificate for the host
name. The header selects the test traffic. Requests contain no credentials, and redirects are not
followed.

The response is `SUCCEEDED` if every check returned the expected status, `FAILED` after `ATTEMPTS`
attempts, which rolls the deployment back before production traffic shifts, and otherwise
`IN_PROGRESS`, after which ECS invokes the function again.

Source: ECS Developer Guide, "Lambda hooks for Amazon ECS service deployments".
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

#: Timeout for each request. The function's timeout is long enough for ten requests.
TIMEOUT_S = 5.0
ATTEMPTS = 4
RETRY_DELAY_S = 15

log = logging.getLogger("gatehouse.smoke")
log.setLevel(logging.INFO)


class InvalidEvent(Exception):
    """The hook details contain no header, no checks or an invalid URL."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Request every URL once. Return the hook status. Raises InvalidEvent, after which ECS rolls
    the deployment back.
    """
    details = event.get("hookDetails")
    if not isinstance(details, Mapping) or not details.get("header") or not details.get("checks"):
        raise InvalidEvent(
            'hookDetails must be {"header": {"name", "value"}, "checks": [{"address", "url", '
            '"status"}]}'
        )
    attempt = int(details.get("attempt", 0)) + 1
    header = {str(details["header"]["name"]): str(details["header"]["value"])}
    passed = [_check(check, header, attempt) for check in details["checks"]]
    if all(passed):
        return {"hookStatus": "SUCCEEDED"}
    if attempt >= ATTEMPTS:
        return {"hookStatus": "FAILED"}
    return {
        "hookStatus": "IN_PROGRESS",
        "callBackDelay": RETRY_DELAY_S,
        "hookDetails": {**details, "attempt": attempt},
    }


def _check(check: Mapping[str, Any], header: Mapping[str, str], attempt: int) -> bool:
    url, expected = str(check["url"]), int(check["status"])
    status, error = request(str(check["address"]), url, header)
    line = {
        "event": "checked",
        "url": url,
        "status": status,
        "expected": expected,
        "error": error,
        "attempt": attempt,
    }
    log.log(logging.INFO if status == expected else logging.WARNING, json.dumps(line))
    return status == expected


def request(address: str, url: str, header: Mapping[str, str]) -> tuple[int, str]:
    """Send one GET request over a new connection to the address. Return the status code and "",
    or 0 and the class name of the error. Raises InvalidEvent if the URL is not an http or https
    URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidEvent(f"{url} is not a valid URL; allowed: http or https")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    try:
        connection.sock = socket.create_connection((address, port), timeout=TIMEOUT_S)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        headers = {
            "Host": parts.netloc,
            "User-Agent": "gatehouse-smoke-test",
            "Connection": "close",
        }
        headers |= header
        if trace := os.environ.get("_X_AMZN_TRACE_ID"):
            headers["X-Amzn-Trace-Id"] = (
                trace  # the spans of the service belong to the trace of this invocation
            )
        connection.request("GET", parts.path or "/", headers=headers)
        return connection.getresponse().status, ""
    except (OSError, http.client.HTTPException) as exc:
        return 0, type(exc).__name__
    finally:
        connection.close()
