"""What only an AWS account shows of the requirements: a row with yes or no for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from release.errors import AWS_ERRORS
from release.stack_file import Stack
from release.state import State

Client = Callable[[str], Any]
Outputs = Mapping[str, Any]
Check = Callable[[Client, Outputs], bool]
_STACK = "pulumi:pulumi:Stack"
_DENIED = ("AccessDenied", "Unauthorized", "NotAuthorized", "AuthorizationError")
_ABSENT = ("NotFound", "InvalidAccess", "Nonexistent")
"""Error codes of services that are not enabled, or of resources that do not exist, contain one of
these words. Security Hub returns InvalidAccessException."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row; called with the function that decides it.

    requirement: ID in docs/requirements.md. kind: resource type in the state of the stack. advice:
    what to do if the fact is not true. applies: Receives the outputs of a resource.
    """

    requirement: str
    fact: str
    kind: str
    advice: str
    applies: Callable[[Outputs], bool] = lambda _: True

    def __call__(self, check: Check) -> Check:
        ROWS.append((self, check))
        return check


ROWS: list[tuple[Row, Check]] = []
_GUARDS = "Set the guard in account/Pulumi.<stack>.yaml and run `make deploy PROJECT=account ENV=`"
_ECS_SERVICE = "aws:ecs/service:Service"


def account_rows(stack: Stack, state: State) -> Iterator[str]:
    """A line for each row whose resources the stack has. Calls of AWS only read."""
    notifications = stack.settings.get("notifications") or {}
    added = {"prefix": stack.names.name(""), "sender": notifications.get("email_sender")}
    for row, check in ROWS:
        resources = [
            (str(each["urn"]).rpartition("::")[2], outputs)
            for each in state.resources
            if each["type"] == row.kind and not each.get("delete")
            if row.applies(
                outputs := {"id": each.get("id"), **(each.get("outputs") or {}), **added}
            )
        ]
        if resources:
            yield f"{row.requirement:<6} {_answer(stack, row, check, resources)}"


def _answer(stack: Stack, row: Row, check: Check, resources: Sequence[tuple[str, Outputs]]) -> str:
    failed = []
    for name, outputs in resources:
        try:
            # The region of a resource can be the second one.
            shown = check(partial(stack.client, region=outputs.get("region", "")), outputs)
        except ClientError as exc:
            code = exc.response.get("Error", {}).get("Code", "")
            if not any(word in code for word in _ABSENT):
                reason = "no permission" if any(word in code for word in _DENIED) else code
                return f"cannot be read ({reason}: {exc.operation_name}): {row.fact}"
            shown = False
        except (*AWS_ERRORS, LookupError) as exc:
            return f"cannot be read ({type(exc).__name__}: {exc}): {row.fact}"
        if not shown:
            failed.append(name)
    if not failed:
        return f"yes: {row.fact}"
    names = "" if row.kind == _STACK else f" ({', '.join(failed)})"
    return f"no{names}: {row.fact}. {row.advice}"


def _is_recent(time: datetime | None, **age: float) -> bool:
    return time is not None and time > datetime.now(UTC) - timedelta(**age)


@Row(
    "ECS-05",
    "CloudTrail delivers log files and digests",
    "aws:cloudtrail/trail:Trail",
    "`aws cloudtrail get-trail-status` prints the error of the delivery",
)
def _trail(aws: Client, trail: Outputs) -> bool:
    status = aws("cloudtrail").get_trail_status(Name=trail["arn"])
    if not status["IsLogging"] or status.get("LatestDeliveryError"):
        return False
    # CloudTrail writes a digest every hour.
    return _is_recent(status.get("LatestDigestDeliveryTime"), hours=3)


@Row(
    "ECS-03",
    "flow logs are delivered",
    "aws:ec2/flowLog:FlowLog",
    "Check its role and the KMS key of its log group",
)
def _flow_log(aws: Client, log: Outputs) -> bool:
    rows = aws("ec2").describe_flow_logs(FlowLogIds=[log["id"]])["FlowLogs"]
    return any(row.get("DeliverLogsStatus") == "SUCCESS" for row in rows)


@Row(
    "ECS-04",
    "AWS WAF evaluates the requests",
    "aws:wafv2/webAclAssociation:WebAclAssociation",
    "Run `make drift ENV=`",
)
def _web_acl(aws: Client, association: Outputs) -> bool:
    arn = association["resourceArn"]
    return "WebACL" in aws("wafv2").get_web_acl_for_resource(ResourceArn=arn)


@Row(
    "ECS-06",
    "the last rotation succeeded",
    "aws:secretsmanager/secretRotation:SecretRotation",
    "See docs/runbooks/rotation-failure.md",
)
def _rotation(aws: Client, rotation: Outputs) -> bool:
    secret = aws("secretsmanager").describe_secret(SecretId=rotation["secretId"])
    stages = secret.get("VersionIdsToStages", {}).values()
    # A rotation that failed leaves a version with the label AWSPENDING alone.
    return bool(secret.get("LastRotatedDate")) and ["AWSPENDING"] not in stages


@Row(
    "ECS-09",
    "all alarms have data, actions and the state OK",
    _STACK,
    "See the alarms in CloudWatch",
)
def _alarms(aws: Client, stack: Outputs) -> bool:
    kinds = ["MetricAlarm", "CompositeAlarm"]
    pages = aws("cloudwatch").get_paginator("describe_alarms")
    rows = [
        row
        for page in pages.paginate(AlarmNamePrefix=stack["prefix"], AlarmTypes=kinds)
        for row in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
    ]
    return bool(rows) and all(
        row["ActionsEnabled"]
        and (
            row["StateValue"] == "OK"
            or (row["StateValue"] != "ALARM" and _is_recent(row["StateUpdatedTimestamp"], days=1))
        )
        for row in rows
    )


@Row(
    "ECS-09",
    "the subscriber of the alarms has confirmed",
    "aws:sns/topicSubscription:TopicSubscription",
    "Open the link in the message from Amazon SNS",
)
def _subscription(aws: Client, subscription: Outputs) -> bool:
    arn = subscription["arn"]
    attributes = aws("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return bool(attributes["PendingConfirmation"] == "false")


@Row(
    "ECS-10",
    "X-Ray has traces of the last six hours",
    "aws:ecs/taskDefinition:TaskDefinition",
    "See the log of the container collector",
    lambda task: "awsxray" in str(task.get("containerDefinitions")),
)
def _traces(aws: Client, task: Outputs) -> bool:
    now, name = datetime.now(UTC), f"gatehouse-{task['family'].rpartition('-')[2]}"
    # X-Ray accepts at most 24 hours.
    times = {"StartTime": now - timedelta(hours=6), "EndTime": now}
    traces = aws("xray").get_trace_summaries(**times, FilterExpression=f'service("{name}")')
    return bool(traces["TraceSummaries"])


@Row(
    "ECS-14",
    "all containers of the tasks run",
    _ECS_SERVICE,
    "`aws ecs describe-tasks` prints the reasons",
)
def _containers(aws: Client, service: Outputs) -> bool:
    ecs, cluster = aws("ecs"), service["cluster"]
    arns = ecs.list_tasks(cluster=cluster, serviceName=service["name"])["taskArns"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    containers = [container for task in tasks for container in task["containers"]]
    return bool(containers) and all(row.get("lastStatus") == "RUNNING" for row in containers)


@Row(
    "SS-09",
    "a deployment of the service succeeded",
    _ECS_SERVICE,
    "`aws ecs list-service-deployments` prints the reasons",
)
def _deployment(aws: Client, service: Outputs) -> bool:
    rows = aws("ecs").list_service_deployments(
        cluster=service["cluster"], service=service["name"], status=["SUCCESSFUL"]
    )
    return bool(rows["serviceDeployments"])


@Row(
    "ECS-11",
    "the database can be restored to a time in the last 15 minutes",
    "aws:rds/instance:Instance",
    "See docs/runbooks/backup-failure.md",
)
def _restorable(aws: Client, instance: Outputs) -> bool:
    names = {"DBInstanceIdentifier": instance["identifier"]}
    (row,) = aws("rds").describe_db_instances(**names)["DBInstances"]
    # RDS uploads transaction logs every five minutes (RDS User Guide, "Restoring a DB instance to a
    # specified time").
    return _is_recent(row.get("LatestRestorableTime"), minutes=15)


@Row(
    "ECS-13",
    "the second region has database backups of the last hour",
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication",
    "See docs/runbooks/backup-failure.md",
)
def _replicated_backups(aws: Client, replication: Outputs) -> bool:
    arn = {"DBInstanceAutomatedBackupsArn": replication["id"]}
    rows = aws("rds").describe_db_instance_automated_backups(**arn)["DBInstanceAutomatedBackups"]
    return any(_is_recent(row.get("RestoreWindow", {}).get("LatestTime"), hours=1) for row in rows)


@Row(
    "CG-20",
    "the backup vault has a backup of the last two days",
    "aws:backup/vault:Vault",
    "See docs/runbooks/backup-failure.md",
)
def _recovery_point(aws: Client, vault: Outputs) -> bool:
    after = datetime.now(UTC) - timedelta(days=2)
    pages = aws("backup").get_paginator("list_recovery_points_by_backup_vault")
    return any(
        row["Status"] == "COMPLETED"
        for page in pages.paginate(BackupVaultName=vault["name"], ByCreatedAfter=after)
        for row in page["RecoveryPoints"]
    )


@Row(
    "ECS-12",
    "objects were replicated within 15 minutes",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
    "See docs/runbooks/backup-failure.md",
)
def _replication(aws: Client, config: Outputs) -> bool:
    rule = config["rules"][0]
    dimensions = {
        "SourceBucket": config["bucket"],
        "DestinationBucket": rule["destination"]["bucket"].rpartition(":")[2],
        "RuleId": rule["id"],
    }
    now = datetime.now(UTC)
    points = aws("cloudwatch").get_metric_statistics(
        Namespace="AWS/S3",
        MetricName="ReplicationLatency",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - timedelta(days=2),
        EndTime=now,
        Period=3600,
        Statistics=["Maximum"],
    )["Datapoints"]
    return bool(points) and all(point["Maximum"] <= 900 for point in points)


@Row(
    "SS-11",
    "costs can be filtered by the tags of the stack",
    "aws:budgets/budget:Budget",
    "Activate the cost allocation tags Project and Environment in the payer account",
)
def _cost_tags(aws: Client, _: Outputs) -> bool:
    tags = {"TagKeys": ["Project", "Environment"], "Status": "Active"}
    return len(aws("ce").list_cost_allocation_tags(**tags)["CostAllocationTags"]) == 2


@Row(
    "SS-13",
    "the certificate is issued and can be renewed",
    "aws:acm/certificate:Certificate",
    "See docs/runbooks/certificate-expiry.md",
)
def _certificate(aws: Client, certificate: Outputs) -> bool:
    row = aws("acm").describe_certificate(CertificateArn=certificate["arn"])["Certificate"]
    return (row["Status"], row.get("RenewalEligibility")) == ("ISSUED", "ELIGIBLE")


@Row("CG-21", "GuardDuty is enabled", _STACK, _GUARDS)
def _guardduty(aws: Client, _: Outputs) -> bool:
    client = aws("guardduty")
    ids = client.list_detectors()["DetectorIds"]
    return any(client.get_detector(DetectorId=each)["Status"] == "ENABLED" for each in ids)


@Row("CG-21", "Security Hub is enabled", _STACK, _GUARDS)
def _security_hub(aws: Client, _: Outputs) -> bool:
    return bool(aws("securityhub").describe_hub()["HubArn"])


@Row("CG-21", "IAM Access Analyzer is active", _STACK, _GUARDS)
def _analyzer(aws: Client, _: Outputs) -> bool:
    rows = aws("accessanalyzer").list_analyzers()["analyzers"]
    return any(row["status"] == "ACTIVE" for row in rows)


@Row(
    "TR-08",
    "Amazon SES sends from notifications.email_sender",
    _STACK,
    "Verify the address or its domain, and request production access",
    lambda stack: bool(stack["sender"]),
)
def _email(aws: Client, stack: Outputs) -> bool:
    client, sender = aws("sesv2"), stack["sender"]
    for identity in (sender, sender.partition("@")[2]):
        try:
            if client.get_email_identity(EmailIdentity=identity)["VerifiedForSendingStatus"]:
                return bool(client.get_account()["ProductionAccessEnabled"])
        except client.exceptions.NotFoundException:
            continue
    return False
