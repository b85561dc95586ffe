"""Shifts traffic to a new version of a Lambda function. After a smoke test, the version receives
part of the requests, and then all requests.

The alias determines which versions receive the requests. The alias is restored if an alarm is
raised or an error occurs. Before and after each call, the alias has the state that the Pulumi
program declares.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from release.errors import DeploymentFailed

CANARY_WEIGHT = 0.1
"""Part of the requests that the new version receives first."""
BAKE_S = 300.0
"""Duration for which the new version receives this part. The alarms evaluate one-minute
periods.
"""
POLL_S = 15.0


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """A published version of a function, from the stack output `functions`.

    alias: the alias that receives the requests. alarms: names of the alarms that trigger a
        rollback.
    """

    function: str
    version: str
    alias: str
    alarms: tuple[str, ...]

    @classmethod
    def of(cls, output: Mapping[str, Any]) -> Self:
        return cls(
            str(output["function"]),
            str(output["version"]),
            str(output["alias"]),
            tuple(output["alarms"]),
        )


def shift_traffic(
    lambda_: Any,
    cloudwatch: Any,
    new: FunctionVersion,
    path: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Shift the requests of the alias to a version. Returns the previous version. Raises
    DeploymentFailed if the previous version receives all requests, ClientError or WaiterError.

    path: path of the service that returns 200 if its dependencies are available.
    Alarms that are already in state ALARM are ignored, so that a version that fixes their cause can
    be deployed.
    """
    previous = str(lambda_.get_alias(FunctionName=new.function, Name=new.alias)["FunctionVersion"])
    if previous == new.version:
        return previous
    lambda_.get_waiter("published_version_active").wait(
        FunctionName=new.function, Qualifier=new.version
    )
    problem = smoke_test(lambda_, new, path)
    if problem:
        raise DeploymentFailed(
            f"{new.function}: version {new.version} failed its smoke test: {problem}."
        )
    ignored = alarms_in_alarm(cloudwatch, new.alarms)
    with _restored(lambda_, new, previous):
        _route(lambda_, new, previous, {new.version: CANARY_WEIGHT})
        for _ in range(round(BAKE_S / POLL_S)):
            sleep(POLL_S)
            raised = alarms_in_alarm(cloudwatch, new.alarms) - ignored
            if raised:
                names = ", ".join(sorted(raised))
                raise DeploymentFailed(
                    f"{new.function}: version {new.version} raised alarms: {names}. Version "
                    f"{previous} receives all requests."
                )
        _route(lambda_, new, new.version, {})
    return previous


def smoke_test(lambda_: Any, new: FunctionVersion, path: str) -> str:
    """Invoke a version with a request for `path`, as API Gateway does. Returns the problem, or
    "".
    """
    event = {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "GET",
        "headers": {"Host": "localhost"},
        "multiValueHeaders": {"Host": ["localhost"]},
        "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
        "body": None,
        "isBase64Encoded": False,
    }
    reply = lambda_.invoke(
        FunctionName=new.function, Qualifier=new.version, Payload=json.dumps(event).encode()
    )
    if "FunctionError" in reply:
        return f"the function failed ({reply['FunctionError']}); see its log group"
    status = json.loads(reply["Payload"].read()).get("statusCode")
    return "" if status == 200 else f"{path} returned {status}"


def alarms_in_alarm(cloudwatch: Any, names: tuple[str, ...]) -> set[str]:
    alarms = cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"] if names else []
    return {alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM"}


@contextmanager
def _restored(lambda_: Any, new: FunctionVersion, previous: str) -> Iterator[None]:
    """Route all requests to the previous version again if the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        _route(lambda_, new, previous, {})
        raise


def _route(lambda_: Any, new: FunctionVersion, version: str, weights: Mapping[str, float]) -> None:
    routing = {"AdditionalVersionWeights": dict(weights)}
    lambda_.update_alias(
        FunctionName=new.function, Name=new.alias, FunctionVersion=version, RoutingConfig=routing
    )
