"""Alarms, runbooks, event rules and the dashboard."""

import json
import re

import pytest

from components.monitoring.metric_alarms import GIB, database_alarms, memory_gib
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS

RUNBOOKS = "https://github.com/example/gatehouse/blob/main/docs/runbooks"


def descriptions(stack: str) -> dict[str, str]:
    """Descriptions, keyed by name of the alarm or event rule."""
    program = run(stack)
    texts = {
        a.inputs["name"]: a.inputs["alarmDescription"]
        for a in program.of_type("cloudwatch/metricAlarm:MetricAlarm")
    }
    texts |= {
        a.inputs["alarmName"]: a.inputs["alarmDescription"]
        for a in program.of_type("cloudwatch/compositeAlarm:CompositeAlarm")
    }
    # Rules with a schedule send no notifications.
    return texts | {
        a.inputs["name"]: a.inputs["description"]
        for a in program.of_type("cloudwatch/eventRule:EventRule")
        if "eventPattern" in a.inputs
    }


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_alarm_description_links_to_its_runbook(stack: str) -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    alarms = descriptions(stack)
    assert alarms
    for name, text in alarms.items():
        page = re.fullmatch(rf".{{20,}} {re.escape(RUNBOOKS)}/([a-z-]+\.md)", text)
        assert page, f"{name}: {text}"
        assert (ROOT / "docs/runbooks" / page[1]).is_file()
        row = next(line for line in index.splitlines() if f"({page[1]})" in line)
        short = name.removeprefix(f"gatehouse-{stack}-")
        patterns = [
            re.sub(r"<[a-z]+>", r"[a-z0-9-]+", cell).replace("*", ".*")
            for cell in re.findall(r"`([^`]+)`", row)
        ]
        assert any(re.fullmatch(pattern, short) for pattern in patterns), (
            f"{page[1]} does not name {short}"
        )


def test_service_alarms_cover_both_target_groups() -> None:
    alarms = run("prod").alarms()
    for what, expression in (("5xx", "SUM"), ("latency", "MAX"), ("unhealthy", "MAX")):
        *groups, both = alarms[f"gateway-{what}"]["metricQueries"]
        assert [group["id"] for group in groups] == ["blue", "green"]
        assert both["expression"] == f"{expression}([FILL(blue, 0), FILL(green, 0)])"
        assert [query["returnData"] for query in (*groups, both)] == [False, False, True]
        assert "metricName" not in alarms[f"gateway-{what}"]
    assert alarms["gateway-latency"]["metricQueries"][0]["metric"]["stat"] == "p99"


@pytest.mark.parametrize("service", ["gateway", "console"])
def test_missing_tasks_raise_an_alarm(service: str) -> None:
    alarm = run("prod").alarms()[f"{service}-tasks"]
    desired, running, difference = alarm["metricQueries"]
    metrics = [query["metric"] for query in (desired, running)]
    assert [metric["metricName"] for metric in metrics] == ["DesiredTaskCount", "RunningTaskCount"]
    assert metrics[0]["dimensions"] == metrics[1]["dimensions"]
    assert metrics[0]["dimensions"]["ServiceName"] == f"gatehouse-prod-{service}"
    assert {metric["namespace"] for metric in metrics} == {"ECS/ContainerInsights"}
    assert difference["expression"] == f"FILL({desired['id']}, 0) - FILL({running['id']}, 0)"
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (0, "GreaterThanThreshold")
    insights = run("prod").get("ecs/cluster:Cluster", "main").inputs["settings"]
    assert {"name": "containerInsights", "value": "enhanced"} in insights, (
        "otherwise the metrics do not exist"
    )


def test_undelivered_events_have_an_alarm() -> None:
    program = run("prod")
    alarms = program.alarms()
    rules = [
        rule.inputs["name"]
        for rule in program.of_type("cloudwatch/eventRule:EventRule")
        if "eventPattern" in rule.inputs
    ]
    assert rules
    for rule in rules:
        alarm = alarms[f"{rule.removeprefix('gatehouse-prod-')}-undelivered"]
        assert (alarm["namespace"], alarm["metricName"], alarm["dimensions"]) == (
            "AWS/Events",
            "FailedInvocations",
            {"RuleName": rule},
        )


@pytest.mark.requirement("CG-22", "TR-13")
@pytest.mark.parametrize("stack", STACKS)
def test_dashboard_searches_metrics_of_gateway(stack: str) -> None:
    program = run(stack)
    (board,) = program.of_type("cloudwatch/dashboard:Dashboard")
    searches = re.findall(
        r"SEARCH\('\{([^,]+),(\w+)\} MetricName=\\\"(\w+)\\\"'",
        board.inputs["dashboardBody"].replace("\\\\", "\\"),
    )
    assert searches == [
        (f"Gatehouse/{stack}", *search)
        for search in (("Code", "KeyDecisions"), ("Core", "CoreRequests"))
    ]
    assert program.variables("gateway")["GATEHOUSE_METRICS_NAMESPACE"] == f"Gatehouse/{stack}"


@pytest.mark.requirement("SS-10")
@pytest.mark.parametrize("stack", STACKS)
def test_dashboard_shows_metrics_of_secret_links(stack: str) -> None:
    program = run(stack)
    (board,) = program.of_type("cloudwatch/dashboard:Dashboard")
    widgets = json.loads(board.inputs["dashboardBody"])["widgets"]
    shown = {
        tuple(series[:2])
        for w in widgets
        for series in w["properties"].get("metrics", ())
        if isinstance(series[0], str)
    }
    filters = program.of_type("cloudwatch/logMetricFilter:LogMetricFilter")
    metrics = {
        f.inputs["metricTransformation"]["name"]
        for f in filters
        if f.name.startswith(("links-", "secrets-"))
    }
    assert metrics
    assert {(f"Gatehouse/{stack}", metric) for metric in metrics} <= shown


@pytest.mark.parametrize("stack", STACKS)
def test_dashboard_shows_existing_alarms(stack: str) -> None:
    program = run(stack)
    names = {a.inputs["name"] for a in program.of_type("cloudwatch/metricAlarm:MetricAlarm")}
    names |= {
        a.inputs["alarmName"] for a in program.of_type("cloudwatch/compositeAlarm:CompositeAlarm")
    }
    (board,) = program.of_type("cloudwatch/dashboard:Dashboard")
    document = json.loads(board.inputs["dashboardBody"])
    (states,) = (widget for widget in document["widgets"] if widget["type"] == "alarm")
    assert {arn.rpartition(":")[2] for arn in states["properties"]["alarms"]} <= names


def test_replication_alarm_has_the_dimensions_of_the_rule() -> None:
    program = run("prod")
    (replication,) = program.of_type("s3/bucketReplicationConfig:BucketReplicationConfig")
    (rule,) = replication.inputs["rules"]
    buckets = {row.name: row.inputs["bucket"] for row in program.of_type("s3/bucket:Bucket")}
    assert program.alarms()["replication-failed"]["dimensions"] == {
        "SourceBucket": buckets["data"],
        "DestinationBucket": buckets["replica-data"],
        "RuleId": rule["id"],
    }


@pytest.mark.parametrize(
    ("instance_class", "memory"),
    [
        ("db.t4g.micro", 1),
        ("db.t4g.medium", 4),
        ("db.m7g.large", 8),
        ("db.m7g.xlarge", 16),
        ("db.r7g.2xlarge", 64),
    ],
)
def test_memory_of_instance_classes(instance_class: str, memory: int) -> None:
    assert memory_gib(instance_class) == memory
    alarms = {alarm.name: alarm for alarm in database_alarms("x", instance_class, 20)}
    assert alarms["database-memory"].threshold == memory * GIB // 20
    assert 0 < alarms["database-connections"].threshold <= 4_000
