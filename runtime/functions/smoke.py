"""Smoke test of a deployment: Lambda function that ECS invokes after it has shifted the test
traffic to the new tasks.

ECS invokes the function with the `hookDetails` of the service: `{"header": {"name": "...", "value":
"..."}, "checks": [{"address": "<load balancer>", "url": "https://gateway.example.com/readyz",
"status": 200}]}`. The function connects to the address, not to the host name of the URL, which has
no DNS record before the first deployment is complete, and verifies the certificate for the host
name. The header selects the test traffic. The details of the gateway also contain `canary`, with
which the function uses the canary key as the probe does, at the same address. No other request
contains a credential, and redirects are not followed.

The response is `SUCCEEDED` if every check returned the expected status and the key could be used,
`FAILED` after `ATTEMPTS` attempts, which rolls the deployment back before production traffic
shifts, and otherwise `IN_PROGRESS`, after which ECS invokes the function again.

Source: ECS Developer Guide, "Lambda hooks for Amazon ECS service deployments".
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from probe import InvalidEvent, check_canary, request

USER_AGENT = "gatehouse-smoke-test"
ATTEMPTS = 4
RETRY_DELAY_S = 15

log = logging.getLogger("gatehouse.smoke")
log.setLevel(logging.INFO)


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
    if canary := details.get("canary"):
        passed.append(check_canary(canary, {"User-Agent": USER_AGENT, **header}))
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
    headers = {"User-Agent": USER_AGENT, **header}
    status, error = request(url, headers, str(check["address"]))
    details = {"status": status, "expected": expected, "error": error, "attempt": attempt}
    line = {"event": "checked", "url": url, **details}
    log.log(logging.INFO if status == expected else logging.WARNING, json.dumps(line))
    return status == expected
