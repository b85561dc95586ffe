"""Prints what only an AWS account shows of the requirements."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from botocore.exceptions import ClientError

from release.errors import AWS_ERRORS
from release.pulumi.stack import Stack
from release.pulumi.state import State

_ABSENT = ("NotFound", "InvalidAccess", "Nonexistent")
"""Error codes of services that are not enabled, or of resources that do not exist, contain one of
these words. Security Hub returns InvalidAccessException."""
_STACK = "pulumi:pulumi:Stack"
_BACKUPS = "See docs/runbooks/backup-failure.md"
_GUARD = "Set the guard in account/Pulumi.<stack>.yaml and run `make deploy PROJECT=account ENV=`"


@dataclass(frozen=True)
class Resource:
    """A resource of the stack. outputs: also with its `id`."""

    stack: Stack
    outputs: Mapping[str, Any]

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the response of "service.operation" with all pages. Calls only read."""
        service, _, name = operation.partition(".")
        # The region of a resource can be the second one.
        client = self.stack.client(service, self.outputs.get("region", ""))
        if client.can_paginate(name):
            response = client.get_paginator(name).paginate(**arguments).build_full_result()
        else:
            response = getattr(client, name)(**arguments)
        return dict(response)

    @property
    def sender(self) -> str:
        return str(self.stack.setting("notifications", "email_sender") or "")


@dataclass(frozen=True)
class Row:
    """A fact about each resource of a type, which the decorated function decides.

    requirement: ID in tests/requirements.toml. advice: what to do if the fact is not true.
    """

    requirement: str
    fact: str
    kind: str
    advice: str
    applies: Callable[[Resource], bool] = lambda _resource: True

    def __call__(self, decide: Callable[[Resource], bool]) -> Callable[[Resource], bool]:
        ROWS[decide.__name__] = self, decide
        return decide


ROWS: dict[str, tuple[Row, Callable[[Resource], bool]]] = {}


def account_rows(stack: Stack, state: State) -> Iterator[str]:
    """Yield a line for each row whose resources the stack has."""
    for row, decide in ROWS.values():
        resources = {
            str(each["urn"]).rpartition("::")[2]: Resource(
                stack, {"id": each.get("id"), **(each.get("outputs") or {})}
            )
            for each in state.resources
            if each["type"] == row.kind and not each.get("delete")
        }
        resources = {name: each for name, each in resources.items() if row.applies(each)}
        if resources:
            yield f"{row.requirement:<6} {_answer(row, decide, resources)}"


def _answer(row: Row, decide: Callable[[Resource], bool], resources: Mapping[str, Resource]) -> str:
    failed = []
    for name, resource in resources.items():
        try:
            is_true = decide(resource)
        except AWS_ERRORS as exc:
            code = exc.response["Error"]["Code"] if isinstance(exc, ClientError) else ""
            if not any(word in code for word in _ABSENT):
                return f"cannot be read: {row.fact}. {exc}"
            is_true = False
        if not is_true:
            failed.append(name)
    if not failed:
        return f"yes: {row.fact}"
    return f"no ({', '.join(failed)}): {row.fact}. {row.advice}"


def _age_h(time: datetime | None) -> float:
    return (datetime.now(UTC) - time) / timedelta(hours=1) if time else inf


def _hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


@Row(
    "ECS-05",
    "CloudTrail delivers log files and digests",
    "aws:cloudtrail/trail:Trail",
    "`aws cloudtrail get-trail-status` prints the error of the delivery",
)
def trail(trail: Resource) -> bool:
    status = trail.call("cloudtrail.get_trail_status", Name=trail.outputs["arn"])
    # CloudTrail writes a digest every hour.
    digest_h = _age_h(status.get("LatestDigestDeliveryTime"))
    return status["IsLogging"] and not status.get("LatestDeliveryError") and digest_h < 3


@Row(
    "ECS-03",
    "flow logs are delivered",
    "aws:ec2/flowLog:FlowLog",
    "Check its role and the KMS key of its log group",
)
def flow_log(log: Resource) -> bool:
    logs = log.call("ec2.describe_flow_logs", FlowLogIds=[log.outputs["id"]])["FlowLogs"]
    return any(row["DeliverLogsStatus"] == "SUCCESS" for row in logs)


@Row(
    "ECS-04",
    "AWS WAF evaluates the requests",
    "aws:wafv2/webAclAssociation:WebAclAssociation",
    "Run `make drift ENV=`",
)
def web_acl(association: Resource) -> bool:
    arn = association.outputs["resourceArn"]
    return "WebACL" in association.call("wafv2.get_web_acl_for_resource", ResourceArn=arn)


@Row(
    "ECS-06",
    "the last rotation succeeded",
    "aws:secretsmanager/secretRotation:SecretRotation",
    "See docs/runbooks/rotation-failure.md",
)
def rotation(rotation: Resource) -> bool:
    secret_id = rotation.outputs["secretId"]
    secret = rotation.call("secretsmanager.describe_secret", SecretId=secret_id)
    # A rotation that failed leaves a version with the label AWSPENDING alone.
    stages = secret.get("VersionIdsToStages", {}).values()
    return "LastRotatedDate" in secret and ["AWSPENDING"] not in stages


@Row(
    "ECS-09",
    "no alarm is raised, or has been without data for a day",
    _STACK,
    "See the alarms in CloudWatch",
)
def alarms(resource: Resource) -> bool:
    response = resource.call(
        "cloudwatch.describe_alarms",
        AlarmNamePrefix=resource.stack.names.name(""),
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    alarms = [*response.get("MetricAlarms", ()), *response.get("CompositeAlarms", ())]
    return _are_quiet(alarms)


@Row(
    "ECS-09",
    "the alarm in the second region is not raised",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "See the alarm in CloudWatch, and docs/runbooks/heartbeat.md",
    lambda alarm: alarm.outputs.get("region", alarm.stack.region) != alarm.stack.region,
)
def heartbeat(alarm: Resource) -> bool:
    response = alarm.call("cloudwatch.describe_alarms", AlarmNames=[alarm.outputs["name"]])
    return _are_quiet(response["MetricAlarms"])


def _are_quiet(alarms: Sequence[Mapping[str, Any]]) -> bool:
    return bool(alarms) and all(map(_is_quiet, alarms))


def _is_quiet(alarm: Mapping[str, Any]) -> bool:
    state, age_h = alarm["StateValue"], _age_h(alarm["StateUpdatedTimestamp"])
    return bool(alarm["ActionsEnabled"]) and (state == "OK" or (state != "ALARM" and age_h < 24))


@Row(
    "ECS-09",
    "the subscriber of the alarms has confirmed",
    "aws:sns/topicSubscription:TopicSubscription",
    "Open the link in the message from Amazon SNS",
)
def subscription(subscription: Resource) -> bool:
    arn = subscription.outputs["arn"]
    response = subscription.call("sns.get_subscription_attributes", SubscriptionArn=arn)
    return bool(response["Attributes"]["PendingConfirmation"] == "false")


@Row(
    "ECS-10",
    "X-Ray has traces of the last six hours",
    "aws:ecs/taskDefinition:TaskDefinition",
    "See the log of the container collector",
    lambda task: "awsxray" in task.outputs.get("containerDefinitions", ""),
)
def traces(task: Resource) -> bool:
    service = str(task.outputs["family"]).rpartition("-")[2]
    # X-Ray accepts at most 24 hours.
    response = task.call(
        "xray.get_trace_summaries",
        StartTime=_hours_ago(6),
        EndTime=_hours_ago(0),
        FilterExpression=f'service("gatehouse-{service}")',
    )
    return bool(response["TraceSummaries"])


@Row(
    "ECS-14",
    "all containers of the tasks run",
    "aws:ecs/service:Service",
    "`aws ecs describe-tasks` prints the reasons",
)
def containers(service: Resource) -> bool:
    cluster, name = service.outputs["cluster"], service.outputs["name"]
    tasks = service.call("ecs.list_tasks", cluster=cluster, serviceName=name)["taskArns"]
    if not tasks:
        return False
    rows = service.call("ecs.describe_tasks", cluster=cluster, tasks=tasks)["tasks"]
    states = {container["lastStatus"] for row in rows for container in row["containers"]}
    return states == {"RUNNING"}


@Row(
    "SS-09",
    "a deployment of the service succeeded",
    "aws:ecs/service:Service",
    "`aws ecs list-service-deployments` prints the reasons",
)
def deployment(service: Resource) -> bool:
    cluster, name = service.outputs["cluster"], service.outputs["name"]
    response = service.call(
        "ecs.list_service_deployments", cluster=cluster, service=name, status=["SUCCESSFUL"]
    )
    return bool(response["serviceDeployments"])


@Row(
    "SS-09",
    "every target group with production traffic has healthy targets",
    "aws:lb/listenerRule:ListenerRule",
    "A deployment shifted the traffic to a group without tasks: run `make rollback ENV=`, and "
    "compare the target groups of the service with the weights of the rule",
)
def production_targets(rule: Resource) -> bool:
    """ECS moves the weights, which Pulumi ignores, so a later deployment can register the tasks in
    the other group (tests/external_contracts.toml).
    """
    (row,) = rule.call("elbv2.describe_rules", RuleArns=[rule.outputs["id"]])["Rules"]
    groups = [
        group["TargetGroupArn"]
        for action in row["Actions"]
        for group in action.get("ForwardConfig", {}).get("TargetGroups", ())
        if group.get("Weight", 1)
    ]
    states = [
        {each["TargetHealth"]["State"] for each in health["TargetHealthDescriptions"]}
        for group in groups
        for health in [rule.call("elbv2.describe_target_health", TargetGroupArn=group)]
    ]
    return all("healthy" in row for row in states)


@Row(
    "SS-11",
    "the database is not enrolled in paid Extended Support",
    "aws:rds/instance:Instance",
    "Run `aws rds modify-db-instance --engine-lifecycle-support` with "
    "open-source-rds-extended-support-disabled, or restore it with this option",
)
def extended_support(database: Resource) -> bool:
    identifier = database.outputs["identifier"]
    response = database.call("rds.describe_db_instances", DBInstanceIdentifier=identifier)
    return all(
        row.get("EngineLifecycleSupport", "").endswith("-disabled")
        for row in response["DBInstances"]
    )


@Row(
    "ECS-11",
    "the database can be restored to a time in the last 15 minutes",
    "aws:rds/instance:Instance",
    _BACKUPS,
)
def restorable(database: Resource) -> bool:
    identifier = database.outputs["identifier"]
    response = database.call("rds.describe_db_instances", DBInstanceIdentifier=identifier)
    # RDS uploads transaction logs every five minutes (RDS User Guide, "Restoring a DB instance to a
    # specified time").
    return any(_age_h(row.get("LatestRestorableTime")) < 0.25 for row in response["DBInstances"])


@Row(
    "ECS-13",
    "the second region has database backups of the last hour",
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication",
    _BACKUPS,
)
def replicated_backups(replication: Resource) -> bool:
    response = replication.call(
        "rds.describe_db_instance_automated_backups",
        DBInstanceAutomatedBackupsArn=replication.outputs["id"],
    )
    windows = [row.get("RestoreWindow", {}) for row in response["DBInstanceAutomatedBackups"]]
    return any(_age_h(window.get("LatestTime")) < 1 for window in windows)


@Row(
    "CG-20",
    "the backup vault has a backup of the last two days",
    "aws:backup/vault:Vault",
    _BACKUPS,
)
def recovery_point(vault: Resource) -> bool:
    response = vault.call(
        "backup.list_recovery_points_by_backup_vault",
        BackupVaultName=vault.outputs["name"],
        ByCreatedAfter=_hours_ago(48),
    )
    return any(row["Status"] == "COMPLETED" for row in response["RecoveryPoints"])


@Row(
    "ECS-12",
    "objects were replicated within 15 minutes",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
    _BACKUPS,
)
def replication(replication: Resource) -> bool:
    (rule, *_) = replication.outputs["rules"]
    dimensions = {
        "SourceBucket": replication.outputs["bucket"],
        "RuleId": rule["id"],
        "DestinationBucket": rule["destination"]["bucket"].rpartition(":")[2],
    }
    points = replication.call(
        "cloudwatch.get_metric_statistics",
        Namespace="AWS/S3",
        MetricName="ReplicationLatency",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=_hours_ago(48),
        EndTime=_hours_ago(0),
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
def cost_tags(budget: Resource) -> bool:
    names = ["Project", "Environment"]
    response = budget.call("ce.list_cost_allocation_tags", TagKeys=names, Status="Active")
    return len(response["CostAllocationTags"]) == len(names)


@Row(
    "SS-13",
    "the certificate is issued and can be renewed",
    "aws:acm/certificate:Certificate",
    "See docs/runbooks/certificate-expiry.md",
)
def certificate(certificate: Resource) -> bool:
    arn = certificate.outputs["arn"]
    row = certificate.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]
    return (row["Status"], row["RenewalEligibility"]) == ("ISSUED", "ELIGIBLE")


@Row("CG-21", "GuardDuty is enabled", _STACK, _GUARD)
def guardduty(resource: Resource) -> bool:
    # A Region has one detector.
    detectors = resource.call("guardduty.list_detectors")["DetectorIds"]
    return any(
        resource.call("guardduty.get_detector", DetectorId=each)["Status"] == "ENABLED"
        for each in detectors
    )


@Row("CG-21", "Security Hub is enabled", _STACK, _GUARD)
def security_hub(resource: Resource) -> bool:
    return "HubArn" in resource.call("securityhub.describe_hub")


@Row("CG-21", "IAM Access Analyzer is active", _STACK, _GUARD)
def analyzer(resource: Resource) -> bool:
    analyzers = resource.call("accessanalyzer.list_analyzers")["analyzers"]
    return any(row["status"] == "ACTIVE" for row in analyzers)


@Row(
    "TR-08",
    "Amazon SES sends from notifications.email_sender",
    _STACK,
    "Verify the address or its domain, and request production access",
    lambda resource: bool(resource.sender),
)
def email(resource: Resource) -> bool:
    rows = resource.call("sesv2.list_email_identities")["EmailIdentities"]
    names = {row["IdentityName"] for row in rows if row["SendingEnabled"]}
    own = {resource.sender, resource.sender.rpartition("@")[2]}
    return resource.call("sesv2.get_account")["ProductionAccessEnabled"] and bool(names & own)
