"""Shifts traffic to a new version of a Lambda function: a smoke test, then part of the requests,
then all. Before and after a shift, the alias has the state that the Pulumi program declares.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from components import contract
from release.errors import CommandFailed, step
from release.pulumi.stack import Stack

CANARY_WEIGHT = 0.1
BAKE_S = 300.0
"""The alarms evaluate one-minute periods."""
POLL_S = 15.0


def shift_traffic(
    stack: Stack,
    name: str,
    output: Mapping[str, Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Shift the requests of a function to its newly published version. Raises CommandFailed if the
    previous version receives all requests, ClientError and WaiterError.

    output: a row of the stack output `functions`. Alarms that are in state ALARM before are
        ignored, so that a version that fixes their cause can be deployed.
    """
    function, version, alias = (str(output[key]) for key in ("function", "version", "alias"))
    aws_lambda, cloudwatch = stack.client("lambda"), stack.client("cloudwatch")

    def route(to: str, weights: Mapping[str, float]) -> None:
        routing = {"FunctionVersion": to, "RoutingConfig": {"AdditionalVersionWeights": weights}}
        aws_lambda.update_alias(FunctionName=function, Name=alias, **routing)

    def in_alarm() -> set[str]:
        names = output["alarms"]
        rows = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
        return {row["AlarmName"] for row in rows if row["StateValue"] == "ALARM"}

    previous = str(aws_lambda.get_alias(FunctionName=function, Name=alias)["FunctionVersion"])
    if previous == version:
        return
    step(f"shifting the traffic of {function} from version {previous} to {version}")
    aws_lambda.get_waiter("published_version_active").wait(FunctionName=function, Qualifier=version)
    event = _event(contract.read(functions=(name,)).functions[name].service.ready)
    reply = aws_lambda.invoke(FunctionName=function, Qualifier=version, Payload=event)
    if (content := json.loads(reply["Payload"].read())).get("statusCode") != 200:
        raise CommandFailed(f"version {version} of {function} failed its smoke test: {content}")
    ignored = in_alarm()
    try:
        route(previous, {version: CANARY_WEIGHT})
        for _ in range(round(BAKE_S / POLL_S)):
            sleep(POLL_S)
            if raised := in_alarm() - ignored:
                raise CommandFailed(f"version {version} of {function} raised {sorted(raised)}")
        route(version, {})
    except BaseException:
        route(previous, {})
        raise


def _event(path: str) -> bytes:
    """A request as API Gateway sends it."""
    headers = {"headers": {"Host": "localhost"}, "multiValueHeaders": {"Host": ["localhost"]}}
    client = {"requestContext": {"identity": {"sourceIp": "127.0.0.1"}}}
    event = {"resource": "/{proxy+}", "path": path, "httpMethod": "GET", **headers, **client}
    return json.dumps({**event, "body": None, "isBase64Encoded": False}).encode()
