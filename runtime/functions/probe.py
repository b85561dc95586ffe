"""The probe: asks each door from outside, as a user would reach it, and counts the answer.

EventBridge calls it at a steady beat with `{"namespace": "Gatehouse/dev", "doors": {"gateway": "https://gateway.example.com/"}}`. For
each door it writes two metrics with the dimension Door: `DoorUp`, 1 when the address answered 200 in time and otherwise 0, and
`DoorSeconds`, how long that took. A door that does not answer is a measurement, not an error of this function; the
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

#: A person gives up about then, and six doors still fit into one run of the function.
TIMEOUT_S = 5.0
EXPECTED = 200

log = logging.getLogger("gatehouse.probe")
log.setLevel(logging.INFO)


class NothingToAsk(Exception):
    """The event names no door, or an address that is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door said. `status`: 0 when it did not answer; `why`: the class of the error then, and nothing it said."""

    status: int
    seconds: float
    why: str = ""

    @property
    def up(self) -> bool:
        return self.status == EXPECTED


def handler(event: Mapping[str, Any], context: object) -> dict[str, bool]:
    """Asks every door once and writes the metrics; returns which are up. Raises NothingToAsk, or botocore's ClientError."""
    doors, namespace = event.get("doors"), event.get("namespace")
    if not isinstance(doors, Mapping) or not doors or not isinstance(namespace, str):
        raise NothingToAsk('the event must be {"namespace": text, "doors": {name: address}}')
    answers = {str(door): ask(str(url)) for door, url in doors.items()}
    for door, answer in answers.items():
        line = {"event": "asked", "door": door, "status": answer.status, "seconds": round(answer.seconds, 3), "why": answer.why}
        log.log(logging.INFO if answer.up else logging.WARNING, json.dumps(line))
    boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=measured(answers))
    return {door: answer.up for door, answer in answers.items()}


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
    for door, answer in answers.items():
        where = [{"Name": "Door", "Value": door}]
        found.append({"MetricName": "DoorUp", "Dimensions": where, "Value": float(answer.up), "Unit": "None"})
        found.append({"MetricName": "DoorSeconds", "Dimensions": where, "Value": answer.seconds, "Unit": "Seconds"})
    return found
