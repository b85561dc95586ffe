"""Synthetic probe: Lambda function that requests each service over the internet and publishes
metrics.

EventBridge invokes the function at a fixed rate with the event `{"namespace": "Gatehouse/dev",
"services": {"gateway": "https://gateway.example.com/"}}`. The function publishes two metrics with
the dimension Service: `ServiceUp`, which is 1 for status 200 and otherwise 0, and
`ResponseSeconds`, which is the response time. An unavailable service does not cause the function to
fail. Requests contain no credentials, and redirects are not followed.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

import http.client
import json
import logging
import os
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3

#: Timeout for each request. The function's timeout is long enough for six requests.
TIMEOUT_S = 5.0

log = logging.getLogger("gatehouse.probe")
log.setLevel(logging.INFO)


class InvalidEvent(Exception):
    """The event lacks a required field, or contains an invalid URL."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, bool]:
    """Request every service once and publish the metrics. Return, by service name, whether the
    service is up.

    Raises InvalidEvent, or botocore's ClientError if CloudWatch rejects the metrics.
    """
    services, namespace = event.get("services"), event.get("namespace")
    if not isinstance(services, Mapping) or not services or not isinstance(namespace, str):
        raise InvalidEvent('the event must be {"namespace": string, "services": {name: URL}}')
    available: dict[str, bool] = {}
    metrics: list[dict[str, Any]] = []
    for service, url in services.items():
        start = time.monotonic()
        status, error = request(str(url), {"User-Agent": "gatehouse-probe"})
        seconds, up = time.monotonic() - start, status == 200
        details = {"status": status, "seconds": round(seconds, 3), "error": error}
        line = {"event": "probed", "service": service, **details}
        log.log(logging.INFO if up else logging.WARNING, json.dumps(line))
        dimensions = [{"Name": "Service", "Value": service}]
        metrics += (
            {"MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": unit}
            for name, value, unit in (
                ("ServiceUp", float(up), "None"),
                ("ResponseSeconds", seconds, "Seconds"),
            )
        )
        available[service] = up
    boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=metrics)
    return available


def request(url: str, headers: Mapping[str, str], address: str = "") -> tuple[int, str]:
    """Send one GET request over a new connection, to the address instead of the host name of the
    URL if there is one. Return the status code and "", or 0 and the class name of the error. Raises
    InvalidEvent if the URL is not an http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidEvent(f"{url} is not a valid URL; allowed: http or https")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    try:
        connection.sock = socket.create_connection((address or parts.hostname, port), TIMEOUT_S)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        sent = {"Host": parts.netloc, "Connection": "close", **headers}
        if trace := os.environ.get("_X_AMZN_TRACE_ID"):
            # The spans of the service belong to the trace of this invocation.
            sent["X-Amzn-Trace-Id"] = trace
        connection.request("GET", parts.path or "/", headers=sent)
        return connection.getresponse().status, ""
    except (OSError, http.client.HTTPException) as exc:
        return 0, type(exc).__name__
    finally:
        connection.close()
