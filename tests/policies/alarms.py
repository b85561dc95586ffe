"""What the clean program of a watched account needs most of: the filters of CIS and their alarms, events, a topic's policy."""

from __future__ import annotations

from typing import Any

from policies.testing.harness import ACCOUNT, Declared, Ref
from tests.policies.pieces import document

# One filter can find several things, as CIS words them; each of these finds one.
PATTERNS = {
    "refused": '{ ($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*") }',
    "no-mfa": '{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") }',
    "root": '{ $.userIdentity.type = "Root" }',
    "policies": "{ ($.eventName = PutRolePolicy) || ($.eventName = AttachRolePolicy) }",
    "trail": "{ ($.eventName = StopLogging) || ($.eventName = DeleteTrail) }",
    "sign-in": '{ ($.eventName = ConsoleLogin) && ($.errorMessage = "Failed authentication") }',
    "keys": "{ ($.eventName = DisableKey) || ($.eventName = ScheduleKeyDeletion) }",
    "buckets": "{ ($.eventName = PutBucketAcl) || ($.eventName = PutBucketPolicy) }",
    "config": "{ ($.eventName = StopConfigurationRecorder) || ($.eventName = PutConfigurationRecorder) }",
    "groups": "{ ($.eventName = AuthorizeSecurityGroupIngress) }",
    "acls": "{ ($.eventName = CreateNetworkAcl) }",
    "gateways": "{ ($.eventName = AttachInternetGateway) }",
    "routes": "{ ($.eventName = CreateRouteTable) }",
    "vpcs": "{ ($.eventName = CreateVpc) || ($.eventName = DeleteVpc) }",
    "organisation": "{ ($.eventSource = organizations.amazonaws.com) }",
}


def cis_alarms() -> list[Declared]:
    return [
        one
        for name, pattern in PATTERNS.items()
        for one in (
            Declared(
                "aws:cloudwatch/logMetricFilter:LogMetricFilter",
                f"{name}-filter",
                {
                    "logGroupName": Ref("trail-logs", "name"),
                    "pattern": pattern,
                    "metricTransformation": {"name": name, "namespace": "Acme", "value": "1"},
                },
            ),
            Declared(
                "aws:cloudwatch/metricAlarm:MetricAlarm",
                f"{name}-seen",
                {"metricName": name, "namespace": "Acme", "alarmActions": [Ref("alarms", "arn")]},
            ),
        )
    ]


def data_events(**more: Any) -> dict[str, Any]:
    fields = {"eventCategory": "Data", "resources.type": "AWS::S3::Object", **more}
    return {"fieldSelectors": [{"field": name, "equals": [value]} for name, value in fields.items()]}


def topic_policy(*more: dict[str, Any]) -> str:
    topic = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
    return document(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        *more,
    )
