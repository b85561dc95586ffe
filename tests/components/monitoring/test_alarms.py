"""Alarms, runbooks, event rules and the dashboard."""

import json
import re

import pytest

from components.monitoring.metric_alarms import GIB, database_alarms, memory_gib
from tests.components.program import OPTIONS, ROOT, run
from tests.components.settings.stack_settings import each_stack

RUNBOOKS = "https://github.com/example/gatehouse/blob/main/docs/runbooks"


def descriptions(stack: str) -> dict[str, str]:
    program = run(stack)
    texts = {
        a.inputs["name"]: a.inputs["alarmDescription"]
        for a in program.of_type("cloudwatch.MetricAlarm")
    }
    # Rules with a schedule send no notifications.
    return texts | {
        a.inputs["name"]: a.inputs["description"]
        for a in program.of_type("cloudwatch.EventRule")
        if "eventPattern" in a.inputs
    }


@pytest.mark.requirement("ECS-09")
@each_stack
def test_alarm_description_links_to_its_runbook(stack: str) -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text()
    alarms = descriptions(stack)
    assert alarms
    for name, text in alarms.items():
        page = re.fullmatch(rf".{{20,}} {re.escape(RUNBOOKS)}/([a-z-]+\.md)", text)
        assert page, f"{name}: {text}"
        assert (ROOT / "docs/runbooks" / page[1]).is_file(), f"docs/runbooks/{page[1]} is missing"
        short = name.removeprefix(f"gatehouse-{stack}-")
        patterns = [
            re.sub(r"<[a-z]+>", r"[a-z0-9-]+", cell).replace("*", ".*")
            for line in index.splitlines()
            if f"({page[1]})" in line
            for cell in re.findall(r"`([^`]+)`", line)
        ]
        assert any(re.fullmatch(pattern, short) for pattern in patterns), (
            f"docs/runbooks/README.md: add `{short}` to the row of {page[1]}"
        )


@pytest.mark.requirement("CG-22", "ECS-08", "TR-13")
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
def test_dashboard_shows_existing_alarms(stack: str) -> None:
    program = run(stack)
    names = {alarm["name"] for alarm in program.alarms().values()}
    (board,) = program.of_type("cloudwatch.Dashboard")
    document = json.loads(board.inputs["dashboardBody"])
    (states,) = (widget for widget in document["widgets"] if widget["type"] == "alarm")
    assert {arn.rpartition(":")[2] for arn in states["properties"]["alarms"]} <= names


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


@pytest.mark.requirement("TR-18")
def test_pager_and_slack_channel_receive_the_notifications_of_the_topic() -> None:
    program = run("dev", changes=OPTIONS)
    url = OPTIONS["monitoring.pager_url"]
    subscriptions = program.of_type("sns.TopicSubscription")
    assert [(row.inputs["protocol"], row.inputs["endpoint"]) for row in subscriptions] == [
        ("https", url)
    ]
    (channel,) = program.of_type("chatbot.SlackChannelConfiguration")
    workspace, _, channel_id = OPTIONS["monitoring.slack_channel"].partition("/")
    assert (channel.inputs["slackTeamId"], channel.inputs["slackChannelId"]) == (
        workspace,
        channel_id,
    )
    assert channel.inputs["snsTopicArns"] == [subscriptions[0].inputs["topic"]]
    assert channel.inputs["guardrailPolicyArns"] == ["arn:aws:iam::aws:policy/AWSDenyAll"]
    assert [policy.name for policy in program.of_type("iam.RolePolicy")].count("chat") == 0
    assert not run("dev").of_type("chatbot.SlackChannelConfiguration")
