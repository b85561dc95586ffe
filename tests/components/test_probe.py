"""Deployment of the synthetic probe: schedule, role and alarms."""

import json

import pytest

from components.monitoring import synthetic_probe
from components.naming import Naming
from components.settings.loader import parse
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS, raw_settings
from tests.iam_evaluation import Call, decide

NAMES = Naming("dev", "123456789012", "eu-west-1")
SERVICES = ("gateway", "console", "sharing")


def minutes(stack: str) -> int:
    return parse(raw_settings(stack), stack).monitoring.probe_interval_minutes


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_probe_requests_health_urls_on_schedule(stack: str) -> None:
    program = run(stack)
    domain = raw_settings(stack)["domain"]
    target = program.get("cloudwatch/eventTarget:EventTarget", "probe").inputs
    assert json.loads(target["input"]) == {
        "namespace": f"Gatehouse/{stack}",
        "services": {service: f"https://{service}.{domain}/healthz" for service in SERVICES},
    }
    rule = program.get("cloudwatch/eventRule:EventRule", "probe").inputs
    interval = minutes(stack)
    assert rule["scheduleExpression"] == (
        "rate(1 minute)" if interval == 1 else f"rate({interval} minutes)"
    )
    permission = program.get("lambda/permission:Permission", "probe").inputs
    assert permission["principal"] == "events.amazonaws.com"
    assert (
        permission["sourceArn"]
        == f"arn:aws:events:eu-west-1:123456789012:rule/gatehouse-{stack}-probe"
    )


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_two_failures_or_missing_data_raise_alarm(stack: str) -> None:
    alarms = run(stack).alarms()
    for service in SERVICES:
        alarm = alarms[f"{service}-unreachable"]
        assert (alarm["namespace"], alarm["metricName"], alarm["dimensions"]) == (
            f"Gatehouse/{stack}",
            "ServiceUp",
            {"Service": service},
        )
        assert (alarm["period"], alarm["evaluationPeriods"], alarm["datapointsToAlarm"]) == (
            60 * minutes(stack),
            2,
            2,
        )
        assert (alarm["comparisonOperator"], alarm["threshold"], alarm["statistic"]) == (
            "LessThanThreshold",
            1,
            "Minimum",
        )
        assert alarm["treatMissingData"] == "breaching"
        assert alarm["alarmActions"] == alarm["okActions"] == ["arn:aws:mock:::alarms"]


def test_probe_role_writes_to_its_namespace_only() -> None:
    grant = synthetic_probe.role_definitions(NAMES)["probe"]
    role = NAMES.role_arn("probe")
    for namespace, allowed in (
        ("Gatehouse/dev", True),
        ("Gatehouse/prod", False),
        ("AWS/ApplicationELB", False),
    ):
        call = Call(role, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})
        assert decide(call, identity=[grant.permissions or {}]).allowed is allowed, namespace


def test_probe_alarm_does_not_roll_back_deployments() -> None:
    program = run("prod")
    assert not [
        a
        for s in program.of_type("ecs/service:Service")
        for a in s.inputs["alarms"]["alarmNames"]
        if "unreachable" in a
    ]


def test_interval_0_disables_the_probe() -> None:
    program = run("dev", changes={"monitoring.probe_interval_minutes": 0})
    assert not [
        a for a in program.resources if a.name == "probe" or a.name.endswith("-unreachable")
    ]
    assert "probe" not in program.exports
    (dashboard,) = program.of_type("cloudwatch/dashboard:Dashboard")
    assert "Synthetic probe" not in str(dashboard.inputs["dashboardBody"])
