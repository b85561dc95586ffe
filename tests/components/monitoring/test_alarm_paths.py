"""Every alarm has a metric or event, changes its state, and may publish."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.components.monitoring import documented_events as events
from tests.components.monitoring.alarm_evaluation import (
    Values,
    alarm_states,
    all_alarms,
    matches,
    matches_event,
    notifications,
    series,
)
from tests.components.program import RECOVERY, ROOT, Program, run
from tests.components.settings.stack_settings import each_stack
from tests.iam_evaluation import Call, decide

METRICS_FILE = "tests/components/monitoring/cloudwatch_metrics.toml"
METRICS: dict[str, Any] = tomllib.loads((ROOT / METRICS_FILE).read_text())
SERVICE_METRICS = (
    *("FailedRequests", "WorkerRestarts", "SlowRequests", "StalenessSeconds", "DatabaseAgeSeconds"),
    *("CheckpointDelaySeconds", "DueSecretsSeconds", "CompletionsBufferedBytes"),
    *("CompletionsLost", "CoreResults", "CoreErrors", "AnnouncementsAgeSeconds"),
)
PROBE_METRICS = ("ServiceUp", "CanaryKeyUp", "CertificateDays")
OF_SOME = {"SpansLost", "Heartbeat"}
"""Metrics of stacks with a collector, and with a heartbeat."""
ACCOUNT, REGION, OTHER = events.ACCOUNT, events.REGION, "999999999999"
TOPICS = ("pages", "tickets", "event", "database", "backup", "budget")
EVENT_RULE, EVENT_TARGET = "cloudwatch.EventRule", "cloudwatch.EventTarget"
TRAIL_EVENTS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("trail_events.toml").read_text()
)


def of_prod(event: Callable[[str, str], Any], reported: str, other: str) -> tuple[Any, Any]:
    return event(reported, "prod"), (event(other, "prod"), event(reported, "dev"))


DEPLOYED, DEPLOYMENT_FAILED = "SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"
EVENTS = {
    # Rule, and optionally a kind of event: an event that it reports, and events that it does not.
    "deployment-failed": of_prod(events.deployment, DEPLOYMENT_FAILED, DEPLOYED),
    "key-disabled": (
        events.key_call("DisableKey", "data"),
        (
            events.key_call("EnableKey", "data"),
            events.key_call("DisableKey", "other"),
            events.key_call("ScheduleKeyDeletion", "data", errorCode="AccessDenied"),
        ),
    ),
    "tasks-not-started": of_prod(
        events.service_action, "SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_STEADY_STATE"
    ),
    "tasks-not-started addresses": of_prod(
        events.service_action, "SERVICE_TASK_START_IMPAIRED", "SERVICE_STEADY_STATE"
    ),
    "rotation-failed": of_prod(events.rotation, "RotationFailed", "RotationSucceeded"),
    "secret-replication-failed": (
        events.rotation("ReplicationFailed", "prod"),
        (events.rotation("ReplicationSucceeded", "prod"),),
    ),
    "backup-failed": of_prod(events.backup_job, "FAILED", "COMPLETED"),
    "backup-failed copy": of_prod(events.copy_job, "FAILED", "COMPLETED"),
    "guardduty-finding": (events.guardduty_finding(5.5), (events.guardduty_finding(2),)),
    "security-hub-finding": (
        events.security_hub_finding("CRITICAL"),
        (
            events.security_hub_finding("LOW"),
            events.security_hub_finding("HIGH", product="GuardDuty"),
            events.security_hub_finding("HIGH", status="SUPPRESSED"),
        ),
    ),
    "access-analyzer-finding": (
        events.access_analyzer_finding("ACTIVE"),
        (
            events.access_analyzer_finding("RESOLVED"),
            events.access_analyzer_finding("ACTIVE", deleted=True),
        ),
    ),
    "restart-rotated": of_prod(events.rotation, "RotationSucceeded", "RotationFailed"),
    "restart-deployed": of_prod(events.deployment, DEPLOYED, DEPLOYMENT_FAILED),
}


def own_metric(alarm: Mapping[str, Any]) -> bool:
    return all(metric["namespace"].startswith("Gatehouse/") for metric in series(alarm).values())


TRAFFIC = {"blue", "green", "bluegrpc", "greengrpc", "all"}
"""IDs of the metrics of the requests of a service."""


def crossing(alarm: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    threshold, queries = alarm["threshold"], set(series(alarm))
    if queries == {"lines", "database"}:
        return {"lines": threshold + 1, "database": 1}, {"lines": 0, "database": 1}
    if "failed" in queries:
        requests = dict.fromkeys(queries & TRAFFIC, 1000 / len(queries & TRAFFIC))
        return {**requests, "failed": 500}, {**requests, "failed": 0}
    if queries == {"read", "write", "due"}:
        return {"read": 20, "due": 0}, {"due": 0}
    if queries == {"errors", "results", "usual", "others"}:
        normal = {"errors": 10.0, "results": 1000, "usual": 90, "others": 9000}
        return {**normal, "errors": 500}, normal
    (query, *_) = series(alarm)
    over = alarm["comparisonOperator"] == "GreaterThanThreshold"
    return {query: threshold + (1 if over else -1)}, {query: 0 if over else threshold}


def timeline(alarm: Mapping[str, Any], *phases: tuple[Mapping[str, float], int]) -> Values:
    """Values of minutes. phases: values of each minute (none: no data), number of minutes."""
    return {
        query: [values.get(query) for values, minutes in phases for _ in range(minutes)]
        for query in series(alarm)
    }


@pytest.mark.alarm_path("metric")
@each_stack
def test_alarm_metric_is_documented(stack: str) -> None:
    alarms = {name: alarm for name, alarm in run(stack).alarms().items() if not own_metric(alarm)}
    assert len(alarms) > 25
    for name, alarm in alarms.items():
        for metric in series(alarm).values():
            if metric["namespace"] == f"Gatehouse/{stack}":
                continue
            documented = METRICS.get(metric["namespace"], {}).get(metric["metricName"])
            assert documented, f"{METRICS_FILE}: add {metric['namespace']} {metric['metricName']}"
            assert sorted(metric["dimensions"]) in documented["dimensions"], name
            assert metric["stat"] in documented["statistics"], name
            assert all(metric["dimensions"].values()), name


@pytest.mark.alarm_path("log", "probe", "service")
@each_stack
def test_own_metric_has_a_publisher(stack: str) -> None:
    program = run(stack)
    groups = {group.inputs["name"] for group in program.of_type("cloudwatch.LogGroup")}
    filters = {
        (row["metricTransformation"]["namespace"], row["metricTransformation"]["name"]): row[
            "logGroupName"
        ]
        for row in (resource.inputs for resource in program.of_type("cloudwatch.LogMetricFilter"))
    }
    probed = json.loads(program.get(EVENT_TARGET, "probe").inputs["input"])
    names = set()
    for metric in (row for alarm in program.alarms().values() for row in series(alarm).values()):
        if not metric["namespace"].startswith("Gatehouse/"):
            continue
        name = metric["namespace"], metric["metricName"]
        names.add(name)
        if name in filters:
            assert filters[name] in groups
            assert not metric.get("dimensions")
            continue
        assert name[0] == probed["namespace"] == f"Gatehouse/{stack}"
        # The probe and the services publish these metrics with this dimension
        # (tests/runtime/functions/test_probe.py, tests/runtime/platform/test_observability.py).
        assert metric["dimensions"]["Service"] in probed["services"]
        assert name[1] in {*PROBE_METRICS, *SERVICE_METRICS, *OF_SOME}
    assert set(filters) <= names
    assert {*PROBE_METRICS, *SERVICE_METRICS} <= {name for _, name in names}


@pytest.mark.alarm_path("log")
@pytest.mark.parametrize("name", TRAIL_EVENTS)
def test_account_filter_matches_documented_trail_event(name: str) -> None:
    filters = {
        row.name: row.inputs["pattern"] for row in run("prod").of_type("cloudwatch.LogMetricFilter")
    }
    assert {row for row in filters if row.startswith("cis-")} == set(TRAIL_EVENTS)
    harmless = {
        "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeVpcs",
        "userIdentity": {"type": "AssumedRole"},
    }
    assert matches(filters[name], TRAIL_EVENTS[name])
    assert not matches(filters[name], harmless)


@pytest.mark.alarm_path("metric", "service", "log", "probe")
@pytest.mark.parametrize("delay", [0, 2])
@each_stack
def test_alarm_fires_and_recovers(stack: str, delay: int) -> None:
    alarms = run(stack).alarms()
    assert len(alarms) > 50
    for name, alarm in alarms.items():
        breach, normal = crossing(alarm)
        minutes = next(iter(series(alarm).values()))["period"] // 60
        long = (alarm["evaluationPeriods"] + 4) * minutes + delay
        states = alarm_states(
            alarm, timeline(alarm, (normal, long), (breach, long), (normal, long)), delay=delay
        )
        third = len(states) // 3
        assert "ALARM" not in states[third // 2 : third], name
        assert "ALARM" in states[third : 2 * third], name
        assert states[-1] == "OK", name
        silent = alarm_states(alarm, timeline(alarm, (normal, long), ({}, long)), delay=delay)
        assert silent[-1] == ("ALARM" if alarm["treatMissingData"] == "breaching" else "OK"), name


@each_stack
def test_failover_of_the_database_notifies_once(stack: str) -> None:
    """Two minutes in which every request fails that needs the database, as do its jobs."""
    normal = {**dict.fromkeys(TRAFFIC, 5_000.0), "DatabaseAgeSeconds": 1.0, "StalenessSeconds": 1.0}
    normal["CertificateDays"] = 90.0
    outage = {**normal, "failed": 5_000, "lines": 10_000, "DatabaseAgeSeconds": 90.0}
    raised = set()
    for name, alarm in run(stack).alarms().items():
        if not any(
            metric["namespace"].startswith("Gatehouse/") for metric in series(alarm).values()
        ):
            continue
        sources = {
            query: query if query in outage else str(metric["metricName"])
            for query, metric in series(alarm).items()
        }
        phases = [
            (
                {
                    query: {"ServiceUp": 1.0, "CanaryKeyUp": 1.0, "Heartbeat": 1.0, **values}.get(
                        source, 0.0
                    )
                    for query, source in pairs
                },
                end,
            )
            for pairs in [sources.items()]
            for values, end in ((normal, 480), (outage, 2), (normal, 480))
        ]
        states = alarm_states(alarm, timeline(alarm, *phases))
        if "ALARM" in states[len(states) // 4 :]:
            raised.add(name)
    notified = notifications(run(stack), raised)
    assert notified["pages"] == {"database-unavailable"}
    assert not notified["tickets"]


@pytest.mark.parametrize("objective", ["errors", "latency"])
def test_burn_rates_detect_outages_and_permanent_increases(objective: str) -> None:
    program, name = run("prod"), f"gateway-{objective}"
    windows = {
        window: program.alarms()[f"{name}-{window}"] for window in ("5m", "1h", "30m", "6h", "3d")
    }
    percent_of_budget = windows["3d"]["threshold"]

    def notified(rate: float, minutes: int, after: int = 0, requests: int = 10_000) -> set[str]:
        """Notifications in the last minute. rate: multiple of the permitted percentage."""
        normal = {"failed": 0.0, "blue": requests * 0.9, "green": requests * 0.1}
        failing = {**normal, "failed": requests * rate * percent_of_budget / 100}
        phases = (normal, 720), (failing, minutes), (normal, after)
        raised = {
            f"{name}-{window}"
            for window, alarm in windows.items()
            if alarm_states(alarm, timeline(alarm, *phases))[-1] == "ALARM"
        }
        rows = notifications(program, raised)
        return rows["pages"] | rows["tickets"]

    assert notified(60, 20) == {name}, "an outage"
    assert notified(60, 20, after=40) == set(), "it has ended"
    assert notified(9, 360) == {name}, "a small increase"
    assert notified(9, 60) == set(), "the budget of the month is hardly used"
    assert notified(0.5, 4320) == set()
    assert notified(2, 4320) == {f"{name}-3d"}, "a slow leak"
    assert notified(1_000, 20, requests=0) == set(), "too few requests"


def test_rise_of_core_errors_is_that_of_new_tasks_only() -> None:
    alarm = run("prod").alarms()["core-errors"]
    healthy = {"errors": 0.0, "results": 1_000.0, "usual": 0.0, "others": 9_000.0}

    def raised(**failing: float) -> bool:
        phases = (healthy, 10), ({**healthy, **failing}, 10)
        return "ALARM" in alarm_states(alarm, timeline(alarm, *phases))

    assert raised(errors=1_000), "a release that breaks the proxy, in a canary deployment"
    assert not raised(errors=500, usual=4_500), "a failing Core"
    assert not raised(errors=0, usual=9_000), "a release that repairs the proxy"
    assert not raised(errors=1, results=1), "too few requests"
    only_new = timeline(alarm, ({"errors": 900.0, "results": 1_000.0}, 20))
    assert "ALARM" not in alarm_states(alarm, only_new), "there is nothing to compare with"


@pytest.mark.alarm_path("event", "invocation")
@pytest.mark.parametrize("name", EVENTS)
def test_only_the_rule_of_an_event_matches_it(name: str) -> None:
    program = run("prod", changes=RECOVERY)
    rules = {
        rule.name: rule.inputs["eventPattern"]
        for rule in program.of_type(EVENT_RULE)
        if "eventPattern" in rule.inputs
    }
    documented = {key.partition(" ")[0] for key in EVENTS}
    assert set(rules) == documented, "add a documented event of the new rule"
    reported, others = EVENTS[name]
    name = name.partition(" ")[0]
    assert [rule for rule, pattern in rules.items() if matches_event(pattern, reported)] == [name]
    assert not [event for event in others if matches_event(rules[name], event)]
    assert (
        program.get(EVENT_TARGET, name).inputs["rule"]
        == program.get(EVENT_RULE, name).inputs["name"]
    )


@pytest.mark.alarm_path("invocation")
def test_restart_rules_may_invoke_the_function() -> None:
    program = run("prod")
    for rule in ("restart-rotated", "restart-deployed"):
        permission = program.get("lambda.Permission", rule).inputs
        assert (
            permission["sourceArn"]
            == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/gatehouse-prod-{rule}"
        )
        assert program.get(EVENT_TARGET, rule).inputs["arn"] == "arn:aws:mock:::restart"


def publishers(program: Program) -> Iterator[tuple[str, str, str]]:
    """Topic, service and ARN of each publisher."""
    for alarm in all_alarms(program).values():
        for topic in alarm["alarmActions"]:
            name, region = alarm.get("name") or alarm["alarmName"], alarm.get("region", REGION)
            yield topic, "cloudwatch", f"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:{name}"
    for target in program.of_type(EVENT_TARGET):
        if target.inputs["targetId"] == "notices":
            rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{target.inputs['rule']}"
            yield target.inputs["arn"], "events", rule
    for service, kind, topic_property in (
        ("events.rds", "rds.EventSubscription", "snsTopic"),
        ("backup", "backup.VaultNotifications", "snsTopicArn"),
        ("budgets", "budgets.Budget", "notifications"),
    ):
        for resource in program.of_type(kind):
            (topic,) = set(
                re.findall(r"arn:aws:mock:::\w+", json.dumps(resource.inputs[topic_property]))
            )
            owner = service.rpartition(".")[2]
            yield topic, service, f"arn:aws:{owner}:{REGION}:{ACCOUNT}:{resource.name}"


@pytest.mark.alarm_path("metric", "service", "log", "probe", "event", "composite")
@each_stack
def test_publisher_may_use_topic_and_key(stack: str) -> None:
    program = run(stack)
    sources = list(publishers(program))
    used = {(topic.rpartition(":")[2], service) for topic, service, _ in sources}
    used -= {("heartbeat", "cloudwatch")}  # in prod
    services = ("cloudwatch", "cloudwatch", "events", "events.rds", "backup", "budgets")
    assert used == set(zip(TOPICS, services, strict=True))
    for topic_mock, service, arn in sources:
        topic = program.get("sns.Topic", topic_mock.rpartition(":")[2])
        (key,) = (
            row
            for row in program.of_type("kms.Key")
            if f"arn:aws:mock:::{row.name}" == topic.inputs["kmsMasterKeyId"]
        )
        region = topic.inputs.get("region", REGION)
        topic_arn = f"arn:aws:sns:{region}:{ACCOUNT}:{topic.inputs['name']}"
        policy = program.policy("sns.TopicPolicy", topic.name)
        context = {
            "aws:SourceArn": arn,
            "aws:SourceAccount": ACCOUNT,
            "aws:SecureTransport": "true",
        }
        principal = f"{service}.amazonaws.com"
        assert decide(
            Call(principal, "sns:Publish", topic_arn, context), resource=policy, owner=ACCOUNT
        ).allowed, arn
        foreign = context | {
            "aws:SourceArn": arn.replace(ACCOUNT, OTHER),
            "aws:SourceAccount": OTHER,
        }
        assert not decide(
            Call(principal, "sns:Publish", topic_arn, foreign), resource=policy, owner=ACCOUNT
        ).allowed, arn
        stranger = "sns" if service == "budgets" else "budgets"
        assert not decide(
            Call(f"{stranger}.amazonaws.com", "sns:Publish", topic_arn, context),
            resource=policy,
            owner=ACCOUNT,
        ).allowed, arn
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            for encrypted, allowed in ((topic_arn, True), (f"{topic_arn}-other", False)):
                call = Call(
                    principal, action, "*", {"kms:EncryptionContext:aws:sns:topicArn": encrypted}
                )
                document = json.loads(key.inputs["policy"])
                assert decide(call, resource=document, resource_decides=True).allowed is allowed, (
                    f"{arn} {action}"
                )


@pytest.mark.alarm_path("event")
@each_stack
def test_subscription_watches_existing_resources(stack: str) -> None:
    program = run(stack)
    instances = {row.inputs["identifier"] for row in program.of_type("rds.Instance")}
    groups = {row.inputs["name"] for row in program.of_type("rds.ParameterGroup")}
    watched = {
        row.inputs["sourceType"]: set(row.inputs.get("sourceIds") or ())
        for row in program.of_type("rds.EventSubscription")
    }
    assert watched == {
        "db-instance": instances,
        "db-parameter-group": groups,
        "db-security-group": set(),
    }
    vaults = {row.inputs["name"] for row in program.of_type("backup.Vault")}
    (notifications,) = program.of_type("backup.VaultNotifications")
    assert notifications.inputs["backupVaultName"] in vaults
    assert all(
        re.fullmatch(r"[A-Z0-9_]+", event) for event in notifications.inputs["backupVaultEvents"]
    )
