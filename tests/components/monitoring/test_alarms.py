"""Alarms, their notifications, runbooks, and the dashboard."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from gatehouse.platform.observability import RequestLine

from components.monitoring.resource_alarms import GIB
from components.settings.loader import parse
from tests.components.monitoring.alarm_evaluation import all_alarms, notifications, series
from tests.components.monitoring.test_alarm_paths import EVENTS
from tests.components.program import OPTIONS, RECOVERY, ROOT, Program, run
from tests.components.settings.stack_settings import each_stack, raw_settings

RUNBOOKS = "https://github.com/example/gatehouse/blob/main/docs/runbooks"


def descriptions(stack: str) -> dict[str, str]:
    """Text of the notifications of each alarm, and descriptions of the other event rules."""
    program = run(stack)
    return {
        **{name: row["alarmDescription"] for name, row in all_alarms(program).items()},
        **{
            rule.name: rule.inputs["description"]
            for rule in program.of_type("cloudwatch.EventRule")
            # Rules with a schedule send no notifications; those with an alarm have its text.
            if "eventPattern" in rule.inputs and rule.name not in all_alarms(program)
        },
    }


@each_stack
def test_alarm_description_links_to_its_runbook(stack: str) -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text()
    alarms = descriptions(stack)
    assert alarms
    for short, text in alarms.items():
        page = re.fullmatch(rf".{{20,}} {re.escape(RUNBOOKS)}/([a-z-]+\.md)", text)
        assert page, f"{short}: {text}"
        assert (ROOT / "docs/runbooks" / page[1]).is_file(), f"docs/runbooks/{page[1]} is missing"
        patterns = [
            re.sub(r"<[a-z]+>", r"[a-z0-9-]+", cell).replace("*", ".*")
            for line in index.splitlines()
            if f"({page[1]})" in line
            for cell in re.findall(r"`([^`]+)`", line)
        ]
        assert any(re.fullmatch(pattern, short) for pattern in patterns), (
            f"docs/runbooks/README.md: add `{short}` to the row of {page[1]}"
        )


@each_stack
def test_dashboard_searches_metrics_of_gateway(stack: str) -> None:
    program = run(stack)
    (board,) = program.of_type("cloudwatch.Dashboard")
    searches = re.findall(
        r"SEARCH\('\{([^,]+),(\w+)\} MetricName=\\\"(\w+)\\\"'",
        board.inputs["dashboardBody"].replace("\\\\", "\\"),
    )
    assert searches == [
        (f"Gatehouse/{stack}", *search)
        for search in (("Code", "KeyDecisions"), ("Core", "CoreRequests"))
    ]
    for process in ("gateway", "console"):
        assert program.variables(process)["GATEHOUSE_METRICS_NAMESPACE"] == f"Gatehouse/{stack}"


@each_stack
def test_dashboard_shows_what_pages(stack: str) -> None:
    program = run(stack)
    (board,) = program.of_type("cloudwatch.Dashboard")
    widgets = json.loads(board.inputs["dashboardBody"])["widgets"]
    (states,) = (row["properties"] for row in widgets if row["type"] == "alarm")
    prefix = f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:gatehouse-{stack}-"
    assert set(states["alarms"]) == {prefix + name for name in PAGES}
    graphs = [row["properties"] for row in widgets if row["type"] == "metric"]
    assert len(widgets) <= 500, "CloudWatch User Guide, CloudWatch quotas"

    rules = " ".join(
        row["alarmRule"]
        for name, row in program.inputs("cloudwatch.CompositeAlarm").items()
        if name in PAGES
    )
    shown = 0
    for name, alarm in program.alarms().items():
        if name not in PAGES and f'"{alarm["name"]}"' not in rules:
            continue
        shown += 1
        # Alarms on one metric have a graph each.
        (graph,) = (
            row
            for row in graphs
            if alarm_is_in(row, alarm)
            and alarm["threshold"] in [line["value"] for line in row["annotations"]["horizontal"]]
        )
        deployments = {row[5] for row in graph["metrics"] if "DeploymentCount" in row}
        services = program.inputs("ecs.Service").values()
        assert deployments == {service["name"] for service in services}, name
    assert shown > 20


def alarm_is_in(graph: Mapping[str, Any], alarm: Mapping[str, Any]) -> bool:
    """Whether a graph has the metrics of the alarm, and its expression, with the same period."""
    ids, texts = {}, []
    for row in graph["metrics"]:
        *names, options = row
        dimensions = tuple(sorted(zip(names[2::2], names[3::2], strict=True)))
        if names:
            metric = *names[:2], dimensions, options.get("stat"), options.get("period")
            ids[options.get("id") or str(metric)] = metric
        else:
            texts.append(options["expression"])
    expected = {
        query: (
            *(metric["namespace"], metric["metricName"]),
            *(tuple(sorted(dict(metric.get("dimensions") or {}).items())), metric["stat"]),
            metric["period"],
        )
        for query, metric in series(alarm).items()
    }
    if not set(expected.values()) <= set(ids.values()):
        return False
    if "metricQueries" not in alarm:
        return True
    (text,) = (row["expression"] for row in alarm["metricQueries"] if row["returnData"])
    return with_metrics(text, expected) in [with_metrics(each, ids) for each in texts]


def with_metrics(expression: str, metrics: Mapping[str, Any]) -> str:
    return re.sub(r"\w+", lambda word: str(metrics.get(word[0], word[0])), expression)


def test_dashboard_shows_errors_and_latency_of_each_core() -> None:
    (board,) = run("prod").of_type("cloudwatch.Dashboard")
    widgets = json.loads(board.inputs["dashboardBody"])["widgets"]
    (query,) = (
        row["properties"]["query"]
        for row in widgets
        if row["properties"].get("title", "").startswith("Cores")
    )
    assert set(re.findall(r"\b(event|path|status|ms)\b", query)) <= set(
        RequestLine.__struct_fields__
    )
    assert re.search(
        r"sum\(floor\(status / 500\)\) as errors, .*pct\(ms, 99\) as p99 by core", query
    )


@pytest.mark.parametrize(
    ("instance_class", "memory"),
    [("db.t4g.small", 2), ("db.m7g.xlarge", 16), ("db.r7g.2xlarge", 64)],
)
def test_memory_of_instance_classes(instance_class: str, memory: int) -> None:
    changes = {"database.instance_class": instance_class}
    database = parse(raw_settings("dev", changes), "dev").database
    connections = min(80 * memory, 5_000)
    assert (database.memory_gib, database.connections_max) == (memory, connections)


@pytest.mark.parametrize(
    ("stack", "memory", "is_burstable"), [("dev", 2, True), ("prod", 8, False)]
)
def test_alarms_of_the_database_follow_its_memory(
    stack: str, memory: int, is_burstable: bool
) -> None:
    program = run(stack)
    alarms = program.alarms()
    assert alarms["database-memory"]["threshold"] == memory * GIB // 20
    (maximum,) = (
        int(row["value"])
        for row in program.get("rds.ParameterGroup", "database").inputs["parameters"]
        if row["name"] == "max_connections"
    )
    assert maximum == 80 * memory
    assert alarms["database-connections"]["threshold"] == maximum * 80 // 100
    assert ("database-credits" in alarms) is is_burstable


PAGES = {
    *(f"{service}-errors" for service in ("gateway", "console", "sharing")),
    *(
        "edge-errors",
        "key-disabled",
        "gateway-latency",
        "gateway-down",
        "console-unreachable",
        "sharing-unreachable",
    ),
    *("certificate-expires", "database-outage"),
    *("database-unavailable", "database-storage", "deployment-failed"),
    *("audit-chain-broken", "cis-no-mfa", "cis-root"),
}
FIRST_ACTIONS = "Check|Find|Open|Raise|Read|Restore|Roll|Treat"


@each_stack
def test_notification_names_severity_owner_and_first_action(stack: str) -> None:
    program = run(stack)
    owner = raw_settings(stack)["owner"]
    by_severity: dict[str, set[str]] = {"pages": set(), "tickets": set(), "none": set()}
    for name, row in all_alarms(program).items():
        severity, text = row["tags"]["Severity"], row["alarmDescription"]
        by_severity[severity].add(name)
        topic = name if name == "heartbeat" else severity  # of another region
        topics = [] if severity == "none" else [f"arn:aws:mock:::{topic}"]
        assert row["alarmActions"] == row["okActions"] == topics, name
        assert row["actionsEnabled"] is True
        assert len(text) <= 1_024, "CloudWatch API Reference, PutMetricAlarm"
        if topics:
            head = f"{severity[:-1].upper()} for {owner}: "
            assert re.fullmatch(rf"{head}.+\. ({FIRST_ACTIONS}) .+\. https:\S+\.md", text), text
    assert by_severity["pages"] == PAGES | ({"heartbeat"} if stack == "prod" else set())
    assert len(by_severity["tickets"]) > 50
    rules = [row["alarmRule"] for row in program.inputs("cloudwatch.CompositeAlarm").values()]
    suppressors = str(program.inputs("cloudwatch.CompositeAlarm"))
    deployments = [row["alarms"]["alarmNames"] for row in deployments_with_alarms(program)]
    for name in by_severity["none"]:
        full = f"gatehouse-{stack}-{name}"
        used = any(f'"{full}"' in rule for rule in rules) or any(full in row for row in deployments)
        assert used or full in suppressors, f"{name} notifies nobody"


def deployments_with_alarms(program: Program) -> list[dict[str, Any]]:
    return [row for row in program.inputs("ecs.Service").values() if row.get("alarms")]


def test_gateway_that_is_down_notifies_once() -> None:
    program = run("prod")
    symptoms = {"gateway-unreachable", "canary-key", "key-state-stale"}
    errors = {f"gateway-errors-{window}" for window in ("5m", "1h", "30m", "6h")}
    for raised in ({"canary-key"}, symptoms, symptoms | errors):
        assert notifications(program, raised)["pages"] == {"gateway-down"}
    assert notifications(program, errors)["pages"] == {"gateway-errors"}


def sns_notification(alarm: Mapping[str, Any], state: str) -> dict[str, str]:
    """The message that CloudWatch publishes (CloudWatch User Guide, "Amazon SNS notifications"; AWS
    Lambda for Go, events/testdata/cloudwatch-alarm-sns-payload-*.json; read 2026-11-29).
    """
    name = alarm.get("name") or alarm["alarmName"]
    message = {
        "AlarmName": name,
        "AlarmDescription": alarm["alarmDescription"],
        "AWSAccountId": "123456789012",
        "NewStateValue": state,
        "OldStateValue": "OK" if state == "ALARM" else "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-29T03:00:00.000+0000",
        "Region": "EU (Ireland)",
        "AlarmArn": f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}",
    }
    return {"Subject": f'{state}: "{name}" in EU (Ireland)', "Message": json.dumps(message)}


def raw_notification(message: Mapping[str, Any]) -> dict[str, str]:
    return {"Subject": "AWS Notification Message", "Message": json.dumps(message)}


def pagerduty(notification: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Incident key, action and text. PagerDuty's integration for CloudWatch discards messages whose
    subject and NewStateValue do not name the same state
    (http://cetinich.net/content/2022/cloudwatch-pagerduty-sns/, read 2026-11-29).
    """
    state, _, _ = notification["Subject"].partition(": ")
    message = json.loads(notification["Message"])
    if state not in ("ALARM", "OK") or message.get("NewStateValue") != state:
        return None
    action = "trigger" if state == "ALARM" else "resolve"
    return message["AlarmName"], action, message["AlarmDescription"]


def opsgenie(notification: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Alias, action and text. Opsgenie's integration for CloudWatch creates an alert for the state
    ALARM, and closes the alert of the same alarm for OK (Opsgenie, "Integrate with Amazon
    CloudWatch", which other alert systems follow).
    """
    message = json.loads(notification["Message"])
    if not {"AlarmName", "NewStateValue", "OldStateValue", "Region"} <= set(message):
        return None
    action = {"ALARM": "trigger", "OK": "resolve"}[message["NewStateValue"]]
    return f"{message['AlarmName']}/{message['Region']}", action, message["AlarmDescription"]


@pytest.mark.parametrize("pager", [pagerduty, opsgenie])
def test_pagers_accept_every_notification(
    pager: Callable[[Mapping[str, str]], tuple[str, str, str] | None],
) -> None:
    program = run("prod", changes=RECOVERY)
    alarms = all_alarms(program)
    for name, row in alarms.items():
        triggered, resolved = (pager(sns_notification(row, state)) for state in ("ALARM", "OK"))
        assert triggered, name
        assert resolved, name
        assert triggered[0] == resolved[0]
        assert (triggered[1], resolved[1]) == ("trigger", "resolve")
        assert triggered[2].endswith(".md")
    for kind, (event, _) in EVENTS.items():
        assert pager(raw_notification(event)) is None
        rule = kind.partition(" ")[0]
        if rule.startswith("restart-"):
            continue
        name = program.get("cloudwatch.EventRule", rule).inputs["name"]
        assert alarms[rule]["dimensions"] == {"RuleName": name}
    for kind in ("database", "backup", "budget"):
        topic = program.get("sns.Topic", kind).inputs["name"]
        assert alarms[f"{kind}-notice"]["dimensions"] == {"TopicName": topic}


def test_only_alarms_reach_people() -> None:
    program = run("dev", changes=OPTIONS)
    url = OPTIONS["monitoring.pager_url"]
    subscriptions = {
        (row["protocol"], row["endpoint"], row["topic"].rpartition(":")[2])
        for row in program.inputs("sns.TopicSubscription").values()
    }
    assert subscriptions == {
        ("https", url, "pages"),
        ("email", "team@example.com", "pages"),
        ("email", "team@example.com", "tickets"),
    }
    (channel,) = program.of_type("chatbot.SlackChannelConfiguration")
    workspace, _, channel_id = OPTIONS["monitoring.slack_channel"].partition("/")
    assert (channel.inputs["slackTeamId"], channel.inputs["slackChannelId"]) == (
        workspace,
        channel_id,
    )
    topics = [f"arn:aws:mock:::{topic}" for topic in ("pages", "tickets")]
    assert channel.inputs["snsTopicArns"] == topics
    assert channel.inputs["guardrailPolicyArns"] == ["arn:aws:iam::aws:policy/AWSDenyAll"]
    assert [policy.name for policy in program.of_type("iam.RolePolicy")].count("chat") == 0
    assert not run("dev").of_type("chatbot.SlackChannelConfiguration")
