"""The probe is deployed with a beat, a role for its own metrics, and an alarm a service that silence sets off too."""

import json

import pytest

from components.monitoring import synthetic_probe
from components.naming import Naming
from components.settings.loader import parse
from policies.analysis.iam.evaluation import Call, decide
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS, raw_settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

NAMES = Naming("dev", "123456789012", "eu-west-1")
SERVICES = ("gateway", "console", "sharing")


def minutes(stack: str) -> int:
    return parse(raw_settings(stack), stack).monitoring.probe_interval_minutes


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_every_door_is_asked_at_its_health_address_at_a_steady_beat(stack: str) -> None:
    program = run(stack)
    domain = raw_settings(stack)["domain"]
    target = program.one("cloudwatch/eventTarget:EventTarget", "probe").inputs
    assert json.loads(target["input"]) == {
        "namespace": f"Gatehouse/{stack}",
        "services": {service: f"https://{service}.{domain}/healthz" for service in SERVICES},
    }
    rule = program.one("cloudwatch/eventRule:EventRule", "probe").inputs
    beat = minutes(stack)
    assert rule["scheduleExpression"] == ("rate(1 minute)" if beat == 1 else f"rate({beat} minutes)")
    permission = program.one("lambda/permission:Permission", "probe").inputs
    assert permission["principal"] == "events.amazonaws.com"
    assert permission["sourceArn"] == f"arn:aws:events:eu-west-1:123456789012:rule/gatehouse-{stack}-probe"


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_two_failures_in_a_row_or_silence_are_an_alarm_that_is_told(stack: str) -> None:
    alarms = {a.name: a.inputs for a in run(stack).of("cloudwatch/metricAlarm:MetricAlarm")}
    for service in SERVICES:
        alarm = alarms[f"{service}-unreachable"]
        assert (alarm["namespace"], alarm["metricName"], alarm["dimensions"]) == (
            f"Gatehouse/{stack}",
            "ServiceUp",
            {"Service": service},
        )
        assert (alarm["period"], alarm["evaluationPeriods"], alarm["datapointsToAlarm"]) == (60 * minutes(stack), 2, 2)
        assert (alarm["comparisonOperator"], alarm["threshold"], alarm["statistic"]) == ("LessThanThreshold", 1, "Minimum")
        assert alarm["treatMissingData"] == "breaching"
        assert alarm["alarmActions"] == alarm["okActions"] == ["arn:aws:mock:::alarms"]


def test_the_probe_counts_in_its_own_namespace_alone() -> None:
    grant = synthetic_probe.role_definitions(NAMES)["probe"]
    role = NAMES.role_arn("probe")
    for namespace, allowed in (("Gatehouse/dev", True), ("Gatehouse/prod", False), ("AWS/ApplicationELB", False)):
        call = Call(role, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})
        assert decide(call, identity=[grant.permissions or {}]).allowed is allowed, namespace


@pytest.mark.parametrize("stack", STACKS)
def test_a_beat_that_fails_is_told_kept_and_not_doubled(stack: str) -> None:
    program = run(stack)
    function = program.one("lambda/function:Function", "probe").inputs
    assert function["reservedConcurrentExecutions"] == 1
    assert "deadLetterConfig" in function
    assert program.one("sqs/queue:Queue", "probe").inputs["sqsManagedSseEnabled"] is True
    alarm = program.one("cloudwatch/metricAlarm:MetricAlarm", "probe-errors").inputs
    assert (alarm["namespace"], alarm["metricName"]) == ("AWS/Lambda", "Errors")
    assert alarm["dimensions"] == {"FunctionName": f"gatehouse-{stack}-probe"}


def test_an_alarm_on_silence_rolls_no_deployment_back() -> None:
    program = run("prod")
    assert not [a for s in program.of("ecs/service:Service") for a in s.inputs["alarms"]["alarmNames"] if "unreachable" in a]


def test_without_a_beat_there_is_no_probe() -> None:
    program = run("dev", changes=json.dumps({"monitoring.probe_interval_minutes": 0}))
    assert not [asked for asked in program.resources if asked.name == "probe" or asked.name.endswith("-unreachable")]
    assert "probe" not in program.exports
    (dashboard,) = program.of("cloudwatch/dashboard:Dashboard")
    assert "From outside" not in str(dashboard.inputs["dashboardBody"])
