"""Rows of `make verify` that only an account decides, with responses in the form of AWS."""

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.validate import validate_parameters

from release.account_rows import ROWS, account_rows
from release.pulumi.stack import Stack
from release.pulumi.state import State
from tests.release.fake_aws import ACCOUNT, ROOT

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=9)
ARN = f"arn:aws:x:eu-west-1:{ACCOUNT}:y"
REQUIREMENTS = tomllib.loads((ROOT / "tests/requirements.toml").read_text())
SENDER = "keys@acme.dev"
SERVICE = {"name": "gatehouse-dev-gateway", "cluster": ARN}
TASK = {"family": "gatehouse-dev-gateway", "containerDefinitions": '{"exporters": "awsxray"}'}
REPLICATION = {
    "bucket": "data",
    "rules": [{"id": "all-objects", "destination": {"bucket": "arn:aws:s3:::replica"}}],
}


TAG = {"TagKey": "Project", "Type": "UserDefined", "Status": "Active"}
WEB_ACL = {"Name": "x", "Id": "x", "ARN": ARN, "DefaultAction": {}} | {
    "VisibilityConfig": dict.fromkeys(("SampledRequestsEnabled", "CloudWatchMetricsEnabled"), True)
    | {"MetricName": "x"}
}


def alarm(state: str, updated: datetime = OLD) -> dict[str, Any]:
    row = {"ActionsEnabled": True, "StateValue": state, "StateUpdatedTimestamp": updated}
    return {"DescribeAlarms": {"MetricAlarms": [row]}}


def secret(*stages: str) -> dict[str, Any]:
    rows = {f"{number}" * 32: [stage] for number, stage in enumerate(stages)}
    return {"DescribeSecret": {"LastRotatedDate": OLD, "VersionIdsToStages": rows}}


def tasks(*states: str) -> dict[str, Any]:
    rows = [{"containers": [{"lastStatus": state} for state in states]}]
    return {"ListTasks": {"taskArns": [ARN]}, "DescribeTasks": {"tasks": rows}}


def latency(seconds: float) -> dict[str, Any]:
    return {"GetMetricStatistics": {"Datapoints": [{"Maximum": seconds}]}}


def replica(time: datetime) -> dict[str, Any]:
    rows = [{"RestoreWindow": {"LatestTime": time}}]
    return {"DescribeDBInstanceAutomatedBackups": {"DBInstanceAutomatedBackups": rows}}


def trail(digest: datetime, **other: Any) -> dict[str, Any]:
    return {"GetTrailStatus": {"IsLogging": True, "LatestDigestDeliveryTime": digest, **other}}


def detector(status: str) -> dict[str, Any]:
    detector = {"Status": status, "ServiceRole": "x"}
    return {"ListDetectors": {"DetectorIds": ["d"]}, "GetDetector": detector}


def recovery_points(*states: str) -> dict[str, Any]:
    rows = [{"Status": state} for state in states]
    return {"ListRecoveryPointsByBackupVault": {"RecoveryPoints": rows}}


def sender(name: str, *, sandbox: bool = False) -> dict[str, Any]:
    row = {"IdentityName": name, "SendingEnabled": True}
    return {
        "ListEmailIdentities": {"EmailIdentities": [row]},
        "GetAccount": {"ProductionAccessEnabled": not sandbox},
    }


def certificate(status: str, renewal: str) -> dict[str, Any]:
    row = {"Status": status, "RenewalEligibility": renewal}
    return {"DescribeCertificate": {"Certificate": row}}


def rule(*weights: int) -> dict[str, Any]:
    groups = [{"TargetGroupArn": f"{ARN}-{weight}", "Weight": weight} for weight in weights]
    forward = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
    other = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    return {"DescribeRules": {"Rules": [{"Actions": [forward if weights else other]}]}}


def targets(*states: str) -> dict[str, Any]:
    rows = [{"TargetHealth": {"State": state}} for state in states]
    return {**rule(0, 100), "DescribeTargetHealth": {"TargetHealthDescriptions": rows}}


def support(value: str) -> dict[str, Any]:
    return {"DescribeDBInstances": {"DBInstances": [{"EngineLifecycleSupport": value}]}}


def analyzer(status: str) -> dict[str, Any]:
    names = {"arn": ARN, "name": "x", "type": "ACCOUNT", "createdAt": OLD}
    return {"ListAnalyzers": {"analyzers": [{**names, "status": status}]}}


CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "trail": (
        {"arn": ARN},
        [trail(NOW)],
        [trail(OLD), trail(NOW, LatestDeliveryError="AccessDenied"), trail(NOW, IsLogging=False)],
    ),
    "flow_log": (
        {"id": "fl-1"},
        [{"DescribeFlowLogs": {"FlowLogs": [{"DeliverLogsStatus": "SUCCESS"}]}}],
        [{"DescribeFlowLogs": {"FlowLogs": [{"DeliverLogsStatus": "FAILED"}]}}],
    ),
    "web_acl": (
        {"resourceArn": ARN},
        [{"GetWebACLForResource": {"WebACL": WEB_ACL}}],
        [{"GetWebACLForResource": {}}, {"GetWebACLForResource": "WAFNonexistentItemException"}],
    ),
    "rotation": (
        {"secretId": ARN},
        [secret("AWSCURRENT"), secret("AWSPREVIOUS", "AWSCURRENT")],
        [secret("AWSCURRENT", "AWSPENDING"), {"DescribeSecret": {}}],
    ),
    "alarms": (
        {},
        [alarm("OK"), alarm("INSUFFICIENT_DATA", NOW)],
        [alarm("INSUFFICIENT_DATA"), alarm("ALARM", NOW), {"DescribeAlarms": {}}],
    ),
    "heartbeat": (
        {"name": "gatehouse-test-heartbeat", "region": "eu-central-1"},
        [alarm("OK")],
        [alarm("ALARM", NOW), {"DescribeAlarms": {"MetricAlarms": []}}],
    ),
    "subscription": (
        {"arn": ARN},
        [{"GetSubscriptionAttributes": {"Attributes": {"PendingConfirmation": "false"}}}],
        [{"GetSubscriptionAttributes": {"Attributes": {"PendingConfirmation": "true"}}}],
    ),
    "traces": (
        TASK,
        [{"GetTraceSummaries": {"TraceSummaries": [{"Id": "1"}]}}],
        [{"GetTraceSummaries": {"TraceSummaries": []}}],
    ),
    "containers": (
        SERVICE,
        [tasks("RUNNING", "RUNNING")],
        [tasks("RUNNING", "STOPPED"), {"ListTasks": {"taskArns": []}}],
    ),
    "deployment": (
        SERVICE,
        [{"ListServiceDeployments": {"serviceDeployments": [{"status": "SUCCESSFUL"}]}}],
        [{"ListServiceDeployments": {"serviceDeployments": []}}],
    ),
    "production_targets": (
        {"id": ARN},
        [targets("healthy", "draining"), rule()],
        [targets("unhealthy"), targets()],
    ),
    "extended_support": (
        {"identifier": "gatehouse-dev-main"},
        [support("open-source-rds-extended-support-disabled")],
        [support("open-source-rds-extended-support")],
    ),
    "restorable": (
        {"identifier": "gatehouse-dev-main"},
        [{"DescribeDBInstances": {"DBInstances": [{"LatestRestorableTime": NOW}]}}],
        [
            {"DescribeDBInstances": {"DBInstances": [{"LatestRestorableTime": OLD}]}},
            {"DescribeDBInstances": "DBInstanceNotFound"},
        ],
    ),
    "replicated_backups": ({"id": ARN}, [replica(NOW)], [replica(OLD)]),
    "recovery_point": (
        {"name": "gatehouse-dev-backup"},
        [recovery_points("EXPIRED", "COMPLETED")],
        [recovery_points(), recovery_points("PARTIAL")],
    ),
    "replication": (
        REPLICATION,
        [latency(12.0)],
        [latency(1200.0), {"GetMetricStatistics": {"Datapoints": []}}],
    ),
    "cost_tags": (
        {},
        [{"ListCostAllocationTags": {"CostAllocationTags": [TAG, TAG]}}],
        [{"ListCostAllocationTags": {"CostAllocationTags": [TAG]}}],
    ),
    "certificate": (
        {"arn": ARN},
        [certificate("ISSUED", "ELIGIBLE")],
        [certificate("ISSUED", "INELIGIBLE"), certificate("PENDING_VALIDATION", "INELIGIBLE")],
    ),
    "guardduty": (
        {},
        [detector("ENABLED")],
        [detector("DISABLED"), {"ListDetectors": {"DetectorIds": []}}],
    ),
    "security_hub": (
        {},
        [{"DescribeHub": {"HubArn": ARN}}],
        [{"DescribeHub": "InvalidAccessException"}],
    ),
    "analyzer": ({}, [analyzer("ACTIVE")], [analyzer("DISABLED")]),
    "email": (
        {},
        [sender(SENDER), sender("acme.dev")],
        [sender(SENDER, sandbox=True), sender("acme.example")],
    ),
}
STACK = Stack(
    "dev", {"account": ACCOUNT, "region": "eu-west-1", "notifications": {"email_sender": SENDER}}
)


def state(kind: str, outputs: dict[str, Any]) -> State:
    urn = f"urn:pulumi:dev::gatehouse::{kind}::first"
    row = {"urn": urn, "type": kind, "outputs": {"region": "eu-west-1", **outputs}}
    deleted = {"urn": f"{urn}-old", "type": kind, "outputs": {}, "delete": True}
    return State({"resources": [row, deleted]})


@pytest.fixture
def respond(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Sets the responses of AWS by operation: parsed, or an error code. Others are denied."""
    current = dict[str, Any]()

    def send(model: Any, **_: Any) -> Any:
        response, raw = current.get(model.name, "AccessDeniedException"), cast("Any", {})
        if isinstance(response, str):
            error = {"Error": {"Code": response, "Message": ""}}
            return AWSResponse("", 400, raw, raw), error
        validate_parameters(response, model.output_shape)
        return AWSResponse("", 200, raw, raw), response

    session = boto3.Session("x", "x")
    session.events.register("before-call.*.*", send)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)

    def change(responses: dict[str, Any]) -> None:
        current.clear()
        current.update(responses)

    return change


@pytest.mark.parametrize("name", ROWS)
def test_response_of_aws_decides_the_row(
    name: str, respond: Callable[[dict[str, Any]], None]
) -> None:
    (row, _), (outputs, shown, others) = ROWS[name], CASES[name]
    fact, resources = row.fact, state(row.kind, outputs)

    def line(responses: dict[str, Any]) -> str:
        respond(responses)
        (text,) = [text for text in account_rows(STACK, resources) if fact in text]
        assert row.requirement in REQUIREMENTS
        return text.removeprefix(row.requirement).strip()

    assert len(shown) * len(others) > 0
    assert {line(responses) for responses in shown} == {f"yes: {fact}"}
    assert {line(responses) for responses in others} == {f"no (first): {fact}. {row.advice}"}
    assert line({}).startswith(f"cannot be read: {fact}. An error occurred (AccessDenied")


def test_rows_of_resources_that_the_stack_does_not_have_are_left_out() -> None:
    task = state("aws:ecs/taskDefinition:TaskDefinition", {"containerDefinitions": "[]"})
    assert list(account_rows(STACK, task)) == []
