"""Synthetic probe: Lambda function that requests each service as clients do, uses the canary key,
and publishes metrics.

EventBridge invokes the function at a fixed rate with the event `{"namespace": "Gatehouse/dev",
"services": {"gateway": "https://gateway.example.com/"}, "canary": {"name":
"gatehouse/dev/canary-key", "verify": URL, "echo": URL}}`. The function publishes metrics with
the dimension Service: `ServiceUp`, which is 1 for status 200 and otherwise 0, and
`ResponseSeconds`, which is the response time. It also publishes
`CertificateDays`, the days until the first certificate of the services that are up expires. With
`canary`, it verifies the canary key, sends a request with the key to the Core of the gateway at
`echo`, unless the proxy is disabled, and publishes `CanaryKeyUp`. The metrics are lines of the log,
so that a function in a VPC requires no connection to CloudWatch. With `heartbeat`, it publishes
`Heartbeat` in that region: 1 if everything is up. With `addresses`, it connects to the address of a
service instead of resolving its host name, which verifies a deployment before its DNS records
exist. What does not work does not cause the function to fail. Redirects are not followed, no other
request contains a credential, and the token is in no log line and no result. It trusts the
certificates in `ca.pem` beside this file as well.

Source: CloudWatch User Guide, "Specification: Embedded metric format";
    docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

import hashlib
import http.client
import json
import logging
import os
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: Timeout for each request. The function's timeout is long enough for five requests.
TIMEOUT_S = 5.0
#: Certificates of the private CA of the services, if they have one.
CA_FILE = Path(__file__).with_name("ca.pem")
#: Part of the body of a response that is read.
BODY_BYTES_MAX = 65_536

log = logging.getLogger("gatehouse.probe")
log.setLevel(logging.INFO)


class InvalidEvent(Exception):
    """The event lacks a required field, or contains an invalid URL."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, bool]:
    """Request every service once, use the canary key and publish the metrics. Return, by service
    name and for `canary`, whether it is up.

    Raises InvalidEvent.
    """
    services, namespace = event.get("services"), event.get("namespace")
    addresses = event.get("addresses", {})
    if not isinstance(services, Mapping) or not services or not isinstance(namespace, str):
        raise InvalidEvent('the event must be {"namespace": string, "services": {name: URL}}')
    available: dict[str, bool] = {}
    certificates: list[float] = []
    for service, url in services.items():
        start = time.monotonic()
        headers, address = {"User-Agent": "gatehouse-probe"}, addresses.get(service, "")
        status, error = request(str(url), headers, address)
        seconds, up = time.monotonic() - start, status == 200
        details = {"status": status, "seconds": round(seconds, 3), "error": error}
        line = {"event": "probed", "service": service, **details}
        log.log(logging.INFO if up else logging.WARNING, json.dumps(line))
        _publish(namespace, service, {"ServiceUp": float(up), "ResponseSeconds": seconds})
        available[service] = up
        if up and (days := certificate_days(str(url), address)) is not None:
            certificates.append(days)
    if certificates:
        _publish(namespace, "gateway", {"CertificateDays": min(certificates)})
    if canary := event.get("canary"):
        canary = {**canary, "address": addresses.get("gateway", "")}
        up = available["canary"] = check_canary(canary, {"User-Agent": "gatehouse-probe"})
        _publish(namespace, "gateway", {"CanaryKeyUp": float(up)})
    if heartbeat := event.get("heartbeat"):
        _report(namespace, str(heartbeat), up=all(available.values()))
    return available


def _report(namespace: str, region: str, *, up: bool) -> None:
    """Publish the heartbeat. Without the other region, the function does not fail."""
    dimensions = [{"Name": "Service", "Value": "gateway"}]
    point = {"MetricName": "Heartbeat", "Dimensions": dimensions, "Value": float(up)}
    config = Config(
        connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1}
    )
    try:
        client = boto3.client("cloudwatch", region_name=region, config=config)
        client.put_metric_data(Namespace=namespace, MetricData=[point])
    except (BotoCoreError, ClientError) as exc:
        log.warning(json.dumps({"event": "no heartbeat", "region": region, "error": str(exc)}))


def _publish(namespace: str, service: str, metrics: Mapping[str, float]) -> None:
    names = [{"Name": name} for name in metrics]
    directive = {"Namespace": namespace, "Dimensions": [["Service"]], "Metrics": names}
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    # A line of the logger has other members around the text.
    print(json.dumps({"_aws": metadata, "Service": service, **metrics}), flush=True)


def check_canary(canary: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Verify the canary key, and send a request with it to the Core of the gateway. Log the result.
    Return whether both succeeded. canary: of the event, and optionally an `address` to connect to.
    """
    try:
        client = boto3.client("secretsmanager")
        value = client.get_secret_value(SecretId=canary["name"])["SecretString"]
        token = value.split()[0]  # the gateways may not know the next one yet
    except (BotoCoreError, ClientError, IndexError) as exc:
        problem = f"{canary['name']} cannot be read: {type(exc).__name__}"
    else:
        problem = _canary_problem(canary, token, headers).replace(token, "(token)")
    line = {"event": "canary key used", "url": canary["verify"], "problem": problem}
    log.log(logging.WARNING if problem else logging.INFO, json.dumps(line))
    return not problem


def _canary_problem(canary: Mapping[str, Any], token: str, headers: Mapping[str, str]) -> str:
    address = str(canary.get("address", ""))
    as_json = {**headers, "Content-Type": "application/json"}
    body = json.dumps({"token": token}).encode()
    status, error, content = exchange("POST", str(canary["verify"]), as_json, address, body)
    reply = _members(content)
    if status != 200 or reply.get("valid") is not True:
        return f"verify: status {status} {error or reply.get('code', '')}"
    if not canary.get("echo"):
        return ""
    echo, body = urlsplit(str(canary["echo"])), secrets.token_bytes(64)
    with_key = {**headers, "Authorization": f"Bearer {token}"}
    status, error, content = exchange("POST", echo.geturl(), with_key, address, body)
    reply = _members(content)
    if status != 200:
        return f"echo: status {status} {error or reply.get('code', '')}"
    digest = hashlib.sha256(body).hexdigest()
    expected = {"sha256": digest, "host": echo.netloc, "scheme": echo.scheme}
    wrong = [name for name, value in expected.items() if reply.get(name) != value]
    return f"echo: wrong {', '.join(wrong)}" if wrong else ""


def certificate_days(url: str, address: str = "") -> float | None:
    """Return the days until the certificate of an https URL expires; None without a connection."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    place = address or parts.hostname, parts.port or 443
    try:
        with (
            socket.create_connection(place, TIMEOUT_S) as plain,
            _trust().wrap_socket(plain, server_hostname=parts.hostname) as connection,
        ):
            certificate = connection.getpeercert() or {}
            expires_at = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
            return (expires_at - time.time()) / 86400
    except (OSError, KeyError, ValueError):
        return None


def _trust() -> ssl.SSLContext:
    """The certificates of public CAs, and those of a private CA, also without its root."""
    context = ssl.create_default_context()
    if CA_FILE.exists():
        context.load_verify_locations(CA_FILE)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _members(content: bytes) -> Mapping[str, Any]:
    """The members of a JSON object; none of anything else."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, Mapping) else {}


def request(url: str, headers: Mapping[str, str], address: str = "") -> tuple[int, str]:
    """Send one GET request. See `exchange`."""
    return exchange("GET", url, headers, address)[:2]


def exchange(
    method: str, url: str, headers: Mapping[str, str], address: str = "", body: bytes | None = None
) -> tuple[int, str, bytes]:
    """Send one request over a new connection, to the address instead of the host name of the URL if
    there is one. Return the status code, "" and the beginning of the body, or 0 and the class name
    of the error. Raises InvalidEvent if the URL is not an http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidEvent(f"{url} is not a valid URL; allowed: http or https")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    try:
        connection.sock = socket.create_connection((address or parts.hostname, port), TIMEOUT_S)
        if parts.scheme == "https":
            context = _trust()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        sent = {"Host": parts.netloc, "Connection": "close", **headers}
        if trace := os.environ.get("_X_AMZN_TRACE_ID"):
            # The spans of the service belong to the trace of this invocation.
            sent["X-Amzn-Trace-Id"] = trace
        connection.request(method, parts.path or "/", body, sent)
        response = connection.getresponse()
        return response.status, "", response.read(BODY_BYTES_MAX)
    except (OSError, http.client.HTTPException, ValueError) as exc:  # ValueError: of a header
        return 0, type(exc).__name__, b""
    finally:
        connection.close()
