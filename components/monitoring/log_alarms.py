"""Metric filters and alarms for log groups: changes to the account, denied API keys, usage, the
audit trail, and secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.monitoring.metric_alarms import (
    DATABASE_PRESENT,
    Alarm,
    Expression,
    Metric,
    database_age,
    metric_alarm,
)
from components.naming import PAGES, TICKETS, Naming

UNIT = "Count"
DENIED_LINKS, LOCKED_LINKS, SECRET_FAILURES = (
    *("links-denied", "links-locked"),
    "secrets-not-deleted",
)
"""Names of the filters, metrics and alarms of secret sharing."""


@dataclass(frozen=True)
class LogFilter:
    """A metric filter and its alarm.

    pattern: Filter pattern. Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric
        filters".
    threshold: Number of matching lines in five minutes above which the alarm is raised.
    severity: Topic that is notified.
    needs_database: Whether an outage of the database, which has an alarm of its own, causes
        matching lines. They are then not counted.
    """

    name: str
    description: str
    pattern: str
    threshold: int = 0
    needs_database: bool = False
    severity: str = TICKETS


class LogAlarms(StackComponent):
    """A metric filter and an alarm for each of fifteen changes to the account, for denied or abused
    API keys, for usage that is not recorded, for attempts to guess links, for a broken audit
    chain, and for secrets that are not deleted.

    Why: CloudTrail records the changes that precede or constitute an incident; the alarms notify
        operators.

    log_groups: Log group of the gateway, the console, the sharing service and, if the stack has a
        trail, CloudTrail ("trail").
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        log_groups: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        for log_filter, group, alarm in log_alarms(stack):
            self._alarm(log_filter, log_groups[group], alarm, topics)
        self.register_outputs({})

    def _alarm(
        self, log_filter: LogFilter, group: pulumi.Input[str], alarm: Alarm, topics: Topics
    ) -> None:
        name = log_filter.name
        metric_filter = aws.cloudwatch.LogMetricFilter(
            name,
            name=self.names.name(name),
            log_group_name=group,
            pattern=log_filter.pattern,
            metric_transformation={
                "name": name,
                "namespace": self.names.namespace,
                "value": "1",
                "unit": UNIT,
            },
            opts=self.child,
        )
        metric_alarm(alarm, self.stack, topics, metric_filter)


def log_alarms(stack: Stack) -> Iterator[tuple[LogFilter, str, Alarm]]:
    """Yield each filter, the kind of its log group, and its alarm."""
    monitoring = stack.settings.monitoring
    gateway = gateway_filters(monitoring.denied_requests_alarm_threshold)
    links = link_filters(monitoring.denied_links_alarm_threshold)
    has_trail = not stack.settings.existing_resources.trail
    for filters, runbook, group in (
        (account_filters() if has_trail else (), "account-activity", "trail"),
        (gateway, "rejected-keys", "gateway"),
        ([USAGE_NOT_WRITTEN], "database", "gateway"),
        (links, "links", "sharing"),
        ([AUDIT_CHAIN_BROKEN], "audit-chain", "console"),
        ([SECRETS_NOT_DELETED], "tokens", "console"),
    ):
        for row in filters:
            # Each matching line is a sample. Others can add negative values to the metric, and
            # values in other units, for which an alarm without a unit is undefined (CloudWatch API
            # Reference, "PutMetricAlarm").
            metric = Metric(stack.names.namespace, row.name, {}, "SampleCount", UNIT)
            source = _without_outage(metric, stack.names) if row.needs_database else metric
            yield (
                row,
                group,
                Alarm(
                    *(row.name, row.description, runbook, source, row.threshold),
                    severity=row.severity,
                ),
            )


def _without_outage(metric: Metric, names: Naming) -> Expression:
    metrics = {"lines": metric, "database": database_age(names)}
    return Expression(f"IF({DATABASE_PRESENT}, lines, 0)", metrics)


def account_filters() -> Iterator[LogFilter]:
    """Yield the fifteen filters of the CIS AWS Foundations Benchmark, section Monitoring, for
    CloudTrail events.
    """
    yield LogFilter(
        "cis-unauthorized-calls",
        f"Many API calls in the account are denied. {ACCOUNT_ACTION}",
        '{ ($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*") }',
        threshold=20,
    )
    yield LogFilter(
        "cis-no-mfa",
        f"An IAM user signed in to the AWS console without MFA. {ACCOUNT_ACTION}",
        '{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") '
        '&& ($.userIdentity.type = "IAMUser") && ($.responseElements.ConsoleLogin = "Success") }',
        severity=PAGES,
    )
    yield LogFilter(
        "cis-root",
        f"The root user of the account was used. {ACCOUNT_ACTION}",
        (
            '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && $.eventType '
            '!= "AwsServiceEvent" }'
        ),
        severity=PAGES,
    )
    yield LogFilter(
        "cis-sign-in-failures",
        f"Sign-ins to the AWS console fail repeatedly. {ACCOUNT_ACTION}",
        '{ ($.eventName = "ConsoleLogin") && ($.errorMessage = "Failed authentication") }',
        threshold=3,
    )
    for name, (description, changes) in ACCOUNT_CHANGES.items():
        source, _, calls = changes.rpartition(":")
        events = " || ".join(f'($.eventName = "{call}")' for call in calls.split())
        pattern = (
            f'{{ ($.eventSource = "{source}.amazonaws.com") && ({events}) }}'
            if source
            else f"{{ {events} }}"
        )
        yield LogFilter(name, f"{description} {ACCOUNT_ACTION}", pattern)


def gateway_filters(denied_max: int) -> Iterator[LogFilter]:
    yield LogFilter(
        "keys-rejected",
        "The gateway denies an unusual number of requests because of their API keys. Possible "
        "causes: guessing, a leaked key or a misconfigured client. Find the addresses in the log "
        "group of the gateway.",
        (
            '{ ($.code = "NOT_FOUND") || ($.code = "FORBIDDEN") || ($.code = "EXPIRED") || ($.code '
            '= "DISABLED") }'
        ),
        threshold=denied_max,
    )
    yield LogFilter(
        "keys-unavailable",
        "The gateway denies requests with valid keys, because it cannot confirm that its key cache "
        "is current or because a dependency is unavailable. Check the database and the cache.",
        '{ $.code = "UNAVAILABLE" }',
        threshold=10,
        needs_database=True,
    )


def link_filters(denied_max: int) -> Iterator[LogFilter]:
    yield LogFilter(
        DENIED_LINKS,
        "The sharing service denies an unusual number of attempts to use links or submission "
        "links. Possible causes: guessing, or a client that retries links that no longer work. "
        "Find the addresses in the log group of the service.",
        (
            '{ ($.service = "sharing") && (($.code = "link_not_found") || ($.code = '
            '"too_many_denied")) }'
        ),
        threshold=denied_max,
    )
    yield LogFilter(
        LOCKED_LINKS,
        "Someone who has a link is guessing the passphrase of the link. After 5 incorrect "
        "passphrases from one network, or 20 in "
        "total, further attempts are denied for up to ten minutes. Find the link in the log group "
        "of the service.",
        '{ ($.service = "sharing") && ($.code = "too_many_attempts") }',
        threshold=5,
    )


# A gateway repeats a failed write every second.
USAGE_NOT_WRITTEN = LogFilter(
    "usage-not-written",
    "Gateways fail to write usage counts to the database. The counts wait in memory and are lost "
    "if a task stops. Check the database.",
    '{ ($.event = "background job failed") && ($.job = "usage counts") }',
    threshold=60,
    needs_database=True,
)
AUDIT_CHAIN_BROKEN = LogFilter(
    "audit-chain-broken",
    "An event of the audit trail was changed or removed, so no further checkpoint is signed. Treat "
    "this alarm as a security incident.",
    '{ $.event = "audit trail broken" }',
    severity=PAGES,
)
# The jobs delete secrets and record the events of secrets.
SECRETS_NOT_DELETED = LogFilter(
    SECRET_FAILURES,
    "The console fails to delete used or expired secrets or to record their events. Links to these "
    "secrets no longer work. Check the log group of the console.",
    '{ ($.event = "background job failed") && '
    '(($.job = "secrets") || ($.job = "orphaned secrets")) }',
    threshold=5,
    needs_database=True,
)


ACCOUNT_ACTION = "Find the caller in the trail, and compare the call with planned changes."
ACCOUNT_CHANGES = {
    "cis-iam-changes": (
        "An IAM policy changed.",
        "PutGroupPolicy DeleteGroupPolicy AttachGroupPolicy DetachGroupPolicy PutRolePolicy "
        "DeleteRolePolicy AttachRolePolicy DetachRolePolicy PutUserPolicy DeleteUserPolicy "
        "AttachUserPolicy DetachUserPolicy CreatePolicy DeletePolicy CreatePolicyVersion "
        "DeletePolicyVersion",
    ),
    "cis-trail-changes": (
        "A CloudTrail trail was changed or stopped.",
        "CreateTrail UpdateTrail DeleteTrail StartLogging StopLogging",
    ),
    "cis-key-deletion": (
        (
            "A KMS key was disabled or scheduled for deletion. Data encrypted with the key becomes "
            "unreadable."
        ),
        "kms:DisableKey ScheduleKeyDeletion",
    ),
    "cis-bucket-policies": (
        "The policy, ACL, CORS, lifecycle or replication configuration of a bucket changed.",
        "s3:PutBucketAcl PutBucketPolicy PutBucketCors PutBucketLifecycle PutBucketReplication "
        "DeleteBucketPolicy DeleteBucketCors DeleteBucketLifecycle DeleteBucketReplication",
    ),
    "cis-config-changes": (
        "AWS Config was changed or stopped.",
        (
            "config:StopConfigurationRecorder DeleteDeliveryChannel PutDeliveryChannel "
            "PutConfigurationRecorder"
        ),
    ),
    "cis-security-groups": (
        "A security group or one of its rules changed.",
        "AuthorizeSecurityGroupIngress AuthorizeSecurityGroupEgress RevokeSecurityGroupIngress "
        "RevokeSecurityGroupEgress CreateSecurityGroup DeleteSecurityGroup "
        "ModifySecurityGroupRules",
    ),
    "cis-network-acls": (
        "A network ACL changed.",
        "CreateNetworkAcl CreateNetworkAclEntry DeleteNetworkAcl DeleteNetworkAclEntry "
        "ReplaceNetworkAclEntry ReplaceNetworkAclAssociation",
    ),
    "cis-gateways": (
        "An internet gateway or customer gateway changed.",
        "CreateCustomerGateway DeleteCustomerGateway AttachInternetGateway CreateInternetGateway "
        "DeleteInternetGateway DetachInternetGateway",
    ),
    "cis-routes": (
        "A route table changed.",
        "ec2:CreateRoute CreateRouteTable ReplaceRoute ReplaceRouteTableAssociation "
        "DeleteRouteTable DeleteRoute DisassociateRouteTable",
    ),
    "cis-vpcs": (
        "A VPC or VPC peering connection changed.",
        "CreateVpc DeleteVpc ModifyVpcAttribute AcceptVpcPeeringConnection "
        "CreateVpcPeeringConnection DeleteVpcPeeringConnection RejectVpcPeeringConnection "
        "AttachClassicLinkVpc DetachClassicLinkVpc DisableVpcClassicLink EnableVpcClassicLink",
    ),
    "cis-organization": (
        "The AWS organization of the account changed.",
        "organizations:AcceptHandshake AttachPolicy CancelHandshake CreateAccount "
        "CreateOrganization CreateOrganizationalUnit CreatePolicy DeclineHandshake "
        "DeleteOrganization DeleteOrganizationalUnit DeletePolicy DetachPolicy DisablePolicyType "
        "EnableAllFeatures EnablePolicyType InviteAccountToOrganization LeaveOrganization "
        "MoveAccount RemoveAccountFromOrganization UpdateOrganizationalUnit UpdatePolicy",
    ),
}
"""Description and API calls of each filter for CloudTrail events. A prefix names the service if
several services have an API call with that name."""
