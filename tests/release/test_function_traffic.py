"""Gradual traffic shift of a function in moto."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from zipfile import ZipFile

import pytest
from gatehouse.platform.observability import Observer
from gatehouse.services.sharing.app import create
from gatehouse.services.sharing.lambda_adapter import lambda_handler
from mangum.types import LambdaContext

from release.errors import CommandFailed
from release.function_traffic import BAKE_S, CANARY_WEIGHT, POLL_S, shift_traffic
from sandbox.emulator.server import Emulator
from tests.release.fake_aws import FakeStack

REGION, FUNCTION, ALIAS = "eu-west-1", "gatehouse-dev-sharing", "live"
ALARMS = (f"{FUNCTION}-errors-5m", f"{FUNCTION}-function-errors")


@dataclass
class Account:
    """An alias that routes to version 1, and version 2. weights: of the alias at each poll."""

    stack: FakeStack
    weights: list[dict[str, float]] = field(default_factory=list)

    def alias(self) -> tuple[str, dict[str, float]]:
        alias = self.stack.get_alias(FunctionName=FUNCTION, Name=ALIAS)
        routing = alias.get("RoutingConfig") or {}
        return alias["FunctionVersion"], routing.get("AdditionalVersionWeights", {})

    def raise_alarm(self, name: str) -> None:
        self.stack.clients["cloudwatch"].set_alarm_state(
            AlarmName=name, StateValue="ALARM", StateReason="test"
        )

    def shift(self, version: str = "2", on_poll: Callable[[int], None] = lambda poll: None) -> None:
        def sleep(seconds: float) -> None:
            assert seconds == POLL_S
            self.weights.append(self.alias()[1])
            on_poll(len(self.weights))

        output = {"function": FUNCTION, "version": version, "alias": ALIAS, "alarms": [*ALARMS]}
        shift_traffic(self.stack, "sharing", output, sleep=sleep)


@pytest.fixture
def account() -> Iterator[Account]:
    with Emulator.start() as emulator:
        client, cloudwatch = (
            emulator.client("lambda", REGION),
            emulator.client("cloudwatch", REGION),
        )
        trust = {"Version": "2012-10-17", "Statement": []}
        role = emulator.client("iam", REGION).create_role(
            RoleName="function", AssumeRolePolicyDocument=json.dumps(trust)
        )
        versions = []
        for number in range(2):
            archive = io.BytesIO()
            with ZipFile(archive, "w") as file:
                file.writestr("index.py", f"VERSION = {number}")
            if number == 0:
                client.create_function(
                    FunctionName=FUNCTION,
                    Runtime="python3.13",
                    Role=role["Role"]["Arn"],
                    Handler="index.handler",
                    Code={"ZipFile": archive.getvalue()},
                )
            else:
                client.update_function_code(FunctionName=FUNCTION, ZipFile=archive.getvalue())
            versions.append(client.publish_version(FunctionName=FUNCTION)["Version"])
        assert versions == ["1", "2"]
        client.create_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion="1")
        for name in ALARMS:
            cloudwatch.put_metric_alarm(
                AlarmName=name, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1,
                MetricName="Errors",
                Namespace="AWS/Lambda", Period=60, Statistic="Sum", Threshold=0,
            )  # fmt: skip
        yield Account(FakeStack("dev", clients={"lambda": client, "cloudwatch": cloudwatch}))


def test_new_version_is_tested_then_receives_a_share_then_all_requests(account: Account) -> None:
    account.shift()
    assert [version for version, _ in account.stack.invoked] == ["2"]
    assert account.weights == [{"2": CANARY_WEIGHT}] * round(BAKE_S / POLL_S)
    assert account.alias() == ("2", {})


def test_smoke_test_is_a_request_of_api_gateway(account: Account) -> None:
    account.shift()
    [(_, event)] = account.stack.invoked
    context: Any = LambdaContext
    app = create(observer=Observer("sharing", "error", "test"), https=True)
    assert lambda_handler(app)(event, context)["statusCode"] == 200


@pytest.mark.parametrize(
    ("payload", "message"), [({"statusCode": 503}, "503"), ({"errorType": "KeyError"}, "KeyError")]
)
def test_version_that_fails_its_smoke_test_receives_no_request(
    account: Account, payload: dict[str, Any], message: str
) -> None:
    account.stack = replace(account.stack, handler=lambda event, context: payload)
    with pytest.raises(CommandFailed, match=message):
        account.shift()
    assert (account.weights, account.alias()) == ([], ("1", {}))


@pytest.mark.parametrize("poll", [1, 7, round(BAKE_S / POLL_S)])
def test_alarm_routes_all_requests_to_the_previous_version(account: Account, poll: int) -> None:
    with pytest.raises(CommandFailed, match=ALARMS[1]):
        account.shift(
            on_poll=lambda number: account.raise_alarm(ALARMS[1]) if number == poll else None
        )
    assert (len(account.weights), account.alias()) == (poll, ("1", {}))


def test_interruption_routes_all_requests_to_the_previous_version(account: Account) -> None:
    def interrupt(poll: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        account.shift(on_poll=interrupt)
    assert account.alias() == ("1", {})


def test_alarm_that_was_raised_before_does_not_stop_a_deployment(account: Account) -> None:
    account.raise_alarm(ALARMS[0])
    account.shift()
    assert account.alias() == ("2", {})


def test_unchanged_version_is_not_shifted(account: Account) -> None:
    account.shift(version="1")
    assert (account.stack.invoked, account.weights) == ([], [])
