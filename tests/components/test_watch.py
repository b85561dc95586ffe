"""Alarms lead to a page that exists, services have one state each, failures without a metric are told, and the dashboard is
whole."""

import json
import re
from typing import Any

import pytest

from components.iam.resource_policies import alarm_topic_policy
from components.monitoring import dashboard, event_alarms
from components.naming import Naming
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

NAMES = Naming("dev", "123456789012", "eu-west-1")
RUNBOOKS = "https://github.com/example/gatehouse/blob/main/docs/runbooks"
SERVICES = ("gateway", "console", "sharing")
SHOWN = dashboard.DashboardSources(
    load_balancer="app/x/1",
    target_groups={service: (f"targetgroup/{service}/1", f"targetgroup/{service}-green/1") for service in SERVICES},
    ecs_services=("gateway", "console"),
    cluster="gatehouse-dev-main",
    database="gatehouse-dev-main",
    cache_nodes=("gatehouse-dev-cache-001",),
    table="gatehouse-dev-tokens",
    rotation_function="gatehouse-dev-rotate",
    dead_letter_queue="gatehouse-dev-rotate-failed",
    runbooks_url=RUNBOOKS,
)


def descriptions(stack: str) -> dict[str, str]:
    """What people read, by the name of the alarm or rule."""
    program = run(stack)
    found = {a.inputs["name"]: a.inputs["alarmDescription"] for a in program.of("cloudwatch/metricAlarm:MetricAlarm")}
    found |= {a.inputs["alarmName"]: a.inputs["alarmDescription"] for a in program.of("cloudwatch/compositeAlarm:CompositeAlarm")}
    # A rule with a beat of its own tells nobody.
    return found | {
        a.inputs["name"]: a.inputs["description"]
        for a in program.of("cloudwatch/eventRule:EventRule")
        if "eventPattern" in a.inputs
    }


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_every_alarm_ends_with_the_address_of_a_page_that_exists_and_names_it(stack: str) -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    for name, text in descriptions(stack).items():
        page = re.fullmatch(rf".{{20,}} {re.escape(RUNBOOKS)}/([a-z-]+\.md)", text)
        assert page, f"{name}: {text}"
        assert (ROOT / "docs/runbooks" / page[1]).is_file()
        row = next(line for line in index.splitlines() if f"({page[1]})" in line)
        short = name.removeprefix(f"gatehouse-{stack}-")
        patterns = [re.sub(r"<[a-z]+>", r"[a-z0-9-]+", cell).replace("*", ".*") for cell in re.findall(r"`([^`]+)`", row)]
        assert any(re.fullmatch(pattern, short) for pattern in patterns), f"{page[1]} does not name {short}"


# recovery.md is a plan for a bad day and has a form of its own; the others answer one alarm each.
ALARM_PAGES = sorted({path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md", "recovery.md"})


@pytest.mark.parametrize("page", ALARM_PAGES)
def test_a_runbook_says_what_to_look_at_what_to_do_and_when_it_is_over(page: str) -> None:
    text = (ROOT / "docs/runbooks" / page).read_text(encoding="utf-8")
    assert [heading for heading in ("Symptoms", "Checks", "Actions", "Resolved when") if f"**{heading}**" not in text] == []
    assert len(text.split()) < 400, "short enough to be read at night"
    assert f"({page})" in (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("stack", STACKS)
def test_each_door_has_one_state_made_of_its_alarms(stack: str) -> None:
    program = run(stack)
    alarms = {a.inputs["name"] for a in program.of("cloudwatch/metricAlarm:MetricAlarm")}
    composites = {a.name: a.inputs for a in program.of("cloudwatch/compositeAlarm:CompositeAlarm")}
    assert set(composites) == set(SERVICES)
    for service, inputs in composites.items():
        named = set(re.findall(r'ALARM\("([^"]+)"\)', inputs["alarmRule"]))
        strained = "throttles" if service in program.exports["functions"] else "unhealthy"
        assert named == {f"gatehouse-{stack}-{service}-{what}" for what in ("5xx", "latency", strained)}
        assert named <= alarms
        assert inputs["alarmActions"] == inputs["okActions"] == ["arn:aws:mock:::alarms"]


def test_the_alarms_of_a_door_look_at_both_target_groups() -> None:
    alarms = {a.name: a.inputs for a in run("prod").of("cloudwatch/metricAlarm:MetricAlarm")}
    for what, expression in (("5xx", "SUM"), ("latency", "MAX"), ("unhealthy", "MAX")):
        *groups, both = alarms[f"gateway-{what}"]["metricQueries"]
        assert [group["id"] for group in groups] == ["blue", "green"]
        assert both["expression"] == f"{expression}([FILL(blue, 0), FILL(green, 0)])"
        assert [query["returnData"] for query in (*groups, both)] == [False, False, True]
        assert "metricName" not in alarms[f"gateway-{what}"]
    assert alarms["gateway-latency"]["metricQueries"][0]["metric"]["stat"] == "p99"


@pytest.mark.parametrize("name", ["deployment-failed", "rotation-failed", "backup-failed"])
def test_failures_that_no_metric_counts_are_told(name: str) -> None:
    program = run("prod")
    target = program.one("cloudwatch/eventTarget:EventTarget", name).inputs
    assert target["arn"] == "arn:aws:mock:::alarms"
    assert "roleArn" not in target, "SNS takes events by its own policy; with a role, encrypted topics get none"
    assert target["rule"] == f"gatehouse-prod-{name}"


def test_an_event_of_another_environment_is_not_ours() -> None:
    patterns = {event.name: json.dumps(event.pattern) for event in event_alarms.event_rules(NAMES)}
    assert len(patterns) == 3
    for pattern in patterns.values():
        assert "gatehouse-dev-" in pattern or "gatehouse/dev/" in pattern
        assert "prod" not in pattern


def test_alarms_and_events_may_use_the_topic_and_its_key_and_nobody_else_may() -> None:
    publishing = {s["Principal"]["Service"]: s for s in alarm_topic_policy(NAMES)["Statement"] if s["Effect"] == "Allow"}
    policy = json.loads(run("dev").one("kms/key:Key", "logs").inputs["policy"])
    using = {
        s["Principal"]["Service"]: s
        for s in policy["Statement"]
        if s["Sid"] in ("AllowCloudWatchAlarms", "AllowEventBridgeRules")
    }
    assert set(publishing) == set(using) == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    for service in using:
        sources = [s["Condition"]["ArnLike"]["aws:SourceArn"] for s in (publishing[service], using[service])]
        assert sources[0] == sources[1]
        assert "gatehouse-dev-*" in sources[0]


def widgets() -> list[dict[str, Any]]:
    return list(dashboard.dashboard_body(NAMES, SHOWN)["widgets"])


def test_dashboard_shows_alarms_then_services() -> None:
    kinds = [widget["type"] for widget in widgets()]
    assert kinds[:2] == ["text", "alarm"]
    titles = [widget["properties"].get("title", "") for widget in widgets()]
    assert [title.split(":")[0] for title in titles[2:11:3]] == list(SERVICES)


def test_no_two_widgets_of_the_dashboard_overlap_and_none_leaves_the_screen() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets():
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert widget["x"] + widget["width"] <= 24
        taken |= cells


@pytest.mark.requirement("CG-22", "TR-13")
@pytest.mark.parametrize("stack", STACKS)
def test_the_dashboard_searches_the_metrics_that_the_gateway_is_told_to_write(stack: str) -> None:
    program = run(stack)
    (board,) = program.of("cloudwatch/dashboard:Dashboard")
    found = re.findall(
        r"SEARCH\('\{([^,]+),(\w+)\} MetricName=\\\"(\w+)\\\"'", board.inputs["dashboardBody"].replace("\\\\", "\\")
    )
    assert found == [
        (f"Gatehouse/{stack}", *one) for one in (("Code", "KeyDecisions"), ("Core", "CoreRequests"), ("Kind", "UnusualUse"))
    ]
    task = next(a for a in program.of("ecs/taskDefinition:TaskDefinition") if a.inputs["family"] == f"gatehouse-{stack}-gateway")
    given = {one["name"]: one["value"] for one in json.loads(task.inputs["containerDefinitions"])[0]["environment"]}
    assert given["GATEHOUSE_METRICS_NAMESPACE"] == f"Gatehouse/{stack}"


@pytest.mark.parametrize("stack", STACKS)
def test_every_alarm_that_the_dashboard_shows_exists(stack: str) -> None:
    program = run(stack)
    made = {a.inputs["name"] for a in program.of("cloudwatch/metricAlarm:MetricAlarm")}
    made |= {a.inputs["alarmName"] for a in program.of("cloudwatch/compositeAlarm:CompositeAlarm")}
    (board,) = program.of("cloudwatch/dashboard:Dashboard")
    document = json.loads(board.inputs["dashboardBody"])
    (states,) = (widget for widget in document["widgets"] if widget["type"] == "alarm")
    assert {arn.rpartition(":")[2] for arn in states["properties"]["alarms"]} <= made
