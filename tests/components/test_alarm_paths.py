"""The path of every alarm and notice: its metric or event exists, its state changes, and it may
publish to an encrypted topic.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.components import documented_events as events
from tests.components.alarm_evaluation import (
    alarm_state,
    composite_state,
    matches,
    matches_event,
    series,
)
from tests.components.program import RECOVERY, ROOT, Program, run
from tests.components.settings.stack_settings import STACKS
from tests.iam_evaluation import Call, decide

METRICS: dict[str, Any] = tomllib.loads(
    (ROOT / "tests/components/cloudwatch_metrics.toml").read_text(encoding="utf-8")
)
ACCOUNT, REGION, OTHER = events.ACCOUNT, events.REGION, "999999999999"
EVENT_RULE, EVENT_TARGET = "cloudwatch/eventRule:EventRule", "cloudwatch/eventTarget:EventTarget"
TRAIL_EVENTS: dict[str, dict[str, Any]] = {
    # CloudTrail User Guide, "CloudTrail record contents" and "AWS Management Console sign-in
    # events".
    "cis-unauthorized-calls": {
        "errorCode": "Client.UnauthorizedOperation",
        "eventName": "RunInstances",
    },
    "cis-no-mfa": {
        "eventName": "ConsoleLogin",
        "userIdentity": {"type": "IAMUser"},
        "additionalEventData": {"MFAUsed": "No"},
        "responseElements": {"ConsoleLogin": "Success"},
    },
    "cis-root": {
        "userIdentity": {"type": "Root"},
        "eventType": "AwsApiCall",
        "eventName": "CreateAccessKey",
    },
    "cis-sign-in-failures": {
        "eventName": "ConsoleLogin",
        "errorMessage": "Failed authentication",
        "userIdentity": {"type": "IAMUser"},
        "responseElements": {"ConsoleLogin": "Failure"},
    },
    "cis-iam-changes": {"eventSource": "iam.amazonaws.com", "eventName": "AttachRolePolicy"},
    "cis-trail-changes": {"eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging"},
    "cis-key-deletion": {"eventSource": "kms.amazonaws.com", "eventName": "ScheduleKeyDeletion"},
    "cis-bucket-policies": {"eventSource": "s3.amazonaws.com", "eventName": "PutBucketPolicy"},
    "cis-config-changes": {
        "eventSource": "config.amazonaws.com",
        "eventName": "StopConfigurationRecorder",
    },
    "cis-security-groups": {
        "eventSource": "ec2.amazonaws.com",
        "eventName": "AuthorizeSecurityGroupIngress",
    },
    "cis-network-acls": {"eventSource": "ec2.amazonaws.com", "eventName": "ReplaceNetworkAclEntry"},
    "cis-gateways": {"eventSource": "ec2.amazonaws.com", "eventName": "AttachInternetGateway"},
    "cis-routes": {"eventSource": "ec2.amazonaws.com", "eventName": "ReplaceRoute"},
    "cis-vpcs": {"eventSource": "ec2.amazonaws.com", "eventName": "CreateVpcPeeringConnection"},
    "cis-organization": {
        "eventSource": "organizations.amazonaws.com",
        "eventName": "LeaveOrganization",
    },
}
EVENTS = {
    # Rule: an event that it reports, and events of the same kind that it does not report.
    "deployment-failed": (
        events.deployment("SERVICE_DEPLOYMENT_FAILED", "prod"),
        (
            events.deployment("SERVICE_DEPLOYMENT_COMPLETED", "prod"),
            events.deployment("SERVICE_DEPLOYMENT_FAILED", "dev"),
        ),
    ),
    "rotation-failed": (
        events.rotation("RotationFailed", "prod"),
        (events.rotation("RotationSucceeded", "prod"), events.rotation("RotationFailed", "dev")),
    ),
    "secret-replication-failed": (
        events.rotation("ReplicationFailed", "prod"),
        (events.rotation("ReplicationSucceeded", "prod"),),
    ),
    "backup-failed": (
        events.backup_job("FAILED", "prod"),
        (events.backup_job("COMPLETED", "prod"), events.backup_job("FAILED", "dev")),
    ),
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
    "restart-rotated": (
        events.rotation("RotationSucceeded", "prod"),
        (events.rotation("RotationFailed", "prod"), events.rotation("RotationSucceeded", "dev")),
    ),
    "restart-deployed": (
        events.deployment("SERVICE_DEPLOYMENT_COMPLETED", "prod"),
        (
            events.deployment("SERVICE_DEPLOYMENT_FAILED", "prod"),
            events.deployment("SERVICE_DEPLOYMENT_COMPLETED", "dev"),
        ),
    ),
}


def own_metric(alarm: Mapping[str, Any]) -> bool:
    return str(alarm.get("namespace", "")).startswith("Gatehouse/")


def crossing(alarm: Mapping[str, Any]) -> tuple[float, float]:
    """A value that breaches the threshold and one that does not."""
    threshold = alarm["threshold"]
    return (
        (threshold + 1, threshold)
        if alarm["comparisonOperator"] == "GreaterThanThreshold"
        else (threshold - 1, threshold)
    )


@pytest.mark.alarm_path("metric")
@pytest.mark.parametrize("stack", STACKS)
def test_alarm_metric_is_documented(stack: str) -> None:
    alarms = {name: alarm for name, alarm in run(stack).alarms().items() if not own_metric(alarm)}
    assert len(alarms) > 30
    for name, alarm in alarms.items():
        for metric in series(alarm).values():
            documented = METRICS[metric["namespace"]][metric["metricName"]]
            assert sorted(metric["dimensions"]) in documented["dimensions"], name
            assert metric["stat"] in documented["statistics"], name
            assert all(metric["dimensions"].values()), name


@pytest.mark.alarm_path("log", "probe")
@pytest.mark.parametrize("stack", STACKS)
def test_own_metric_has_a_publisher(stack: str) -> None:
    program = run(stack)
    groups = {group.inputs["name"] for group in program.of_type("cloudwatch/logGroup:LogGroup")}
    filters = {
        (row["metricTransformation"]["namespace"], row["metricTransformation"]["name"]): row[
            "logGroupName"
        ]
        for row in (
            resource.inputs
            for resource in program.of_type("cloudwatch/logMetricFilter:LogMetricFilter")
        )
    }
    probed = json.loads(program.get(EVENT_TARGET, "probe").inputs["input"])
    alarms = [alarm for alarm in program.alarms().values() if own_metric(alarm)]
    assert len(alarms) == len(filters) + len(probed["services"])
    for alarm in alarms:
        metric = alarm["namespace"], alarm["metricName"]
        if metric in filters:
            assert filters[metric] in groups
            assert not alarm.get("dimensions")
        else:
            # tests/runtime/functions/test_probe.py: the function publishes this metric with this
            #     dimension.
            assert metric == (probed["namespace"], "ServiceUp")
            assert alarm["dimensions"]["Service"] in probed["services"]


@pytest.mark.requirement("ECS-05")
@pytest.mark.alarm_path("log")
@pytest.mark.parametrize("name", TRAIL_EVENTS)
def test_account_filter_matches_documented_trail_event(name: str) -> None:
    filters = {
        row.name: row.inputs["pattern"]
        for row in run("prod").of_type("cloudwatch/logMetricFilter:LogMetricFilter")
    }
    assert {row for row in filters if row.startswith("cis-")} == set(TRAIL_EVENTS)
    harmless = {
        "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeVpcs",
        "userIdentity": {"type": "AssumedRole"},
    }
    assert matches(filters[name], TRAIL_EVENTS[name])
    assert not matches(filters[name], harmless)


@pytest.mark.alarm_path("metric", "log", "probe")
@pytest.mark.parametrize("stack", STACKS)
def test_alarm_changes_its_state_and_notifies_the_topic(stack: str) -> None:
    program = run(stack)
    alarms = program.alarms()
    assert len(alarms) > 50
    for name, alarm in alarms.items():
        breach, normal = crossing(alarm)
        count = alarm["evaluationPeriods"]
        first = next(iter(series(alarm)))
        assert alarm_state(alarm, [{first: breach}] * count) == "ALARM", name
        assert alarm_state(alarm, [{first: breach}] * (count - 1) + [{first: normal}]) == "OK", name
        assert alarm_state(alarm, [{}] * count) == (
            "ALARM" if alarm["treatMissingData"] == "breaching" else "OK"
        ), name
        assert alarm["actionsEnabled"] is True
        assert alarm["alarmActions"] == alarm["okActions"] == ["arn:aws:mock:::alarms"], name


@pytest.mark.alarm_path("composite")
@pytest.mark.parametrize("stack", STACKS)
def test_composite_alarm_follows_its_alarms(stack: str) -> None:
    program = run(stack)
    quiet = {alarm["name"]: "OK" for alarm in program.alarms().values()}
    composites = program.of_type("cloudwatch/compositeAlarm:CompositeAlarm")
    assert len(composites) == 3
    for composite in composites:
        rule, prefix = composite.inputs["alarmRule"], composite.inputs["alarmName"]
        saturated = next(
            name for name in (f"{prefix}-unhealthy", f"{prefix}-throttles") if name in quiet
        )
        assert not composite_state(rule, quiet)
        assert composite_state(rule, quiet | {f"{prefix}-5xx": "ALARM"})
        assert not composite_state(rule, quiet | {f"{prefix}-latency": "ALARM"})
        assert composite_state(rule, quiet | {f"{prefix}-latency": "ALARM", saturated: "ALARM"})


@pytest.mark.alarm_path("event", "invocation")
@pytest.mark.parametrize("name", EVENTS)
def test_only_the_rule_of_an_event_matches_it(name: str) -> None:
    program = run("prod", changes=RECOVERY)
    rules = {
        rule.name: rule.inputs["eventPattern"]
        for rule in program.of_type(EVENT_RULE)
        if "eventPattern" in rule.inputs
    }
    assert set(rules) == set(EVENTS), "add a documented event of the new rule"
    reported, others = EVENTS[name]
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
        permission = program.get("lambda/permission:Permission", rule).inputs
        assert (
            permission["sourceArn"]
            == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/gatehouse-prod-{rule}"
        )
        assert program.get(EVENT_TARGET, rule).inputs["arn"] == "arn:aws:mock:::restart"


def publishers(program: Program) -> Iterator[tuple[str, str, str]]:
    """Service, source ARN and topic resource of each alarm, event rule and subscription that
    publishes to a topic.
    """
    for kind, field in (
        ("metricAlarm:MetricAlarm", "name"),
        ("compositeAlarm:CompositeAlarm", "alarmName"),
    ):
        for alarm in program.of_type(f"cloudwatch/{kind}"):
            yield (
                "cloudwatch",
                f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm.inputs[field]}",
                "alarms",
            )
    for target in program.of_type(EVENT_TARGET):
        if target.inputs["arn"] == "arn:aws:mock:::alarms":
            yield (
                "events",
                f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{target.inputs['rule']}",
                "alarms",
            )
    for service, kind in (
        ("events.rds", "rds/eventSubscription:EventSubscription"),
        ("backup", "backup/vaultNotifications:VaultNotifications"),
        ("budgets", "budgets/budget:Budget"),
    ):
        for resource in program.of_type(kind):
            assert "arn:aws:mock:::service-notifications" in json.dumps(resource.inputs), (
                resource.name
            )
            yield (
                service,
                f"arn:aws:{service.rpartition('.')[2]}:{REGION}:{ACCOUNT}:{resource.name}",
                "service-notifications",
            )


@pytest.mark.alarm_path("metric", "log", "probe", "composite", "event", "subscription")
@pytest.mark.parametrize("stack", STACKS)
def test_publisher_may_use_topic_and_key(stack: str) -> None:
    program = run(stack)
    sources = list(publishers(program))
    assert {service for service, *_ in sources} == {
        "cloudwatch",
        "events",
        "events.rds",
        "backup",
        "budgets",
    }
    for service, arn, topic in sources:
        inputs = program.get("sns/topic:Topic", topic).inputs
        (key,) = (
            row
            for row in program.of_type("kms/key:Key")
            if f"arn:aws:mock:::{row.name}" == inputs["kmsMasterKeyId"]
        )
        topic_arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{inputs['name']}"
        policy = program.policy("sns/topicPolicy:TopicPolicy", topic)
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
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            for encrypted, allowed in ((topic_arn, True), (f"{topic_arn}-other", False)):
                call = Call(
                    principal, action, "*", {"kms:EncryptionContext:aws:sns:topicArn": encrypted}
                )
                document = json.loads(key.inputs["policy"])
                assert decide(call, resource=document, resource_decides=True).allowed is allowed, (
                    f"{arn} {action}"
                )


@pytest.mark.alarm_path("subscription")
@pytest.mark.parametrize("stack", STACKS)
def test_subscription_watches_existing_resources(stack: str) -> None:
    program = run(stack)
    instances = {row.inputs["identifier"] for row in program.of_type("rds/instance:Instance")}
    groups = {row.inputs["name"] for row in program.of_type("rds/parameterGroup:ParameterGroup")}
    watched = {
        row.inputs["sourceType"]: set(row.inputs.get("sourceIds") or ())
        for row in program.of_type("rds/eventSubscription:EventSubscription")
    }
    assert watched == {
        "db-instance": instances,
        "db-parameter-group": groups,
        "db-security-group": set(),
    }
    vaults = {row.inputs["name"] for row in program.of_type("backup/vault:Vault")}
    (notifications,) = program.of_type("backup/vaultNotifications:VaultNotifications")
    assert notifications.inputs["backupVaultName"] in vaults
    assert all(
        re.fullmatch(r"[A-Z0-9_]+", event) for event in notifications.inputs["backupVaultEvents"]
    )
