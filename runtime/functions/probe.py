"""The probe: asks each service from outside, as a user would reach it, and counts the answer.

EventBridge calls it at a steady beat with `{"namespace": "Gatehouse/dev", "services": {"gateway": "https://gateway.example.com/"}}`. For
each service it writes two metrics with the dimension Service: `ServiceUp`, 1 when the address answered 200 in time and otherwise 0, and
`ResponseSeconds`, how long that took. A service that does not answer is a measurement, not an error of this function; the
function fails when it cannot measure at all. It sends no key and follows no redirect.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3

#: A person gives up about then, and six services still fit into one run of the function.
TIMEOUT_S = 5.0
EXPECTED = 200

log = logging.getLogger("gatehouse.probe")
log.setLevel(logging.INFO)


class NothingToAsk(Exception):
    """The event names no service, or an address that is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said. `status`: 0 when it did not answer; `why`: the class of the error then, and nothing it said."""

    status: int
    seconds: float
    why: str = ""

    @property
    def up(self) -> bool:
        return self.status == EXPECTED


def handler(event: Mapping[str, Any], context: object) -> dict[str, bool]:
    """Asks every service once and writes the metrics; returns which are up. Raises NothingToAsk, or botocore's ClientError."""
    services, namespace = event.get("services"), event.get("namespace")
    if not isinstance(services, Mapping) or not services or not isinstance(namespace, str):
        raise NothingToAsk('the event must be {"namespace": text, "services": {name: address}}')
    answers = {str(service): ask(str(url)) for service, url in services.items()}
    for service, answer in answers.items():
        line = {
            "event": "asked",
            "service": service,
            "status": answer.status,
            "seconds": round(answer.seconds, 3),
            "why": answer.why,
        }
        log.log(logging.INFO if answer.up else logging.WARNING, json.dumps(line))
    boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=measured(answers))
    return {service: answer.up for service, answer in answers.items()}


def ask(url: str) -> Answer:
    """One GET, over a connection of its own. Raises NothingToAsk for an address that is not http or https."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NothingToAsk(f"{url} is not an address that can be asked; allowed: http or https")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    began = time.monotonic()
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "gatehouse-probe", "Connection": "close"})
        status, why = connection.getresponse().status, ""
    except (OSError, http.client.HTTPException) as exc:
        status, why = 0, type(exc).__name__
    finally:
        connection.close()
    return Answer(status, time.monotonic() - began, why)


def measured(answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """The metrics of these answers, in the form of PutMetricData."""
    found: list[dict[str, Any]] = []
    for service, answer in answers.items():
        where = [{"Name": "Service", "Value": service}]
        found.append({"MetricName": "ServiceUp", "Dimensions": where, "Value": float(answer.up), "Unit": "None"})
        found.append({"MetricName": "ResponseSeconds", "Dimensions": where, "Value": answer.seconds, "Unit": "Seconds"})
    return found
