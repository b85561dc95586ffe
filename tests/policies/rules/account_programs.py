"""A program with account settings and the bucket of a trail."""

from tests.policies.declared import ACCOUNT, Declared, Ref
from tests.policies.rules.builders import (
    DATA_EVENTS,
    MANAGEMENT_EVENTS,
    Program,
    changed,
    declared,
    document,
    find,
    tls_only,
    without,
)
from tests.policies.rules.programs import s3, watch

ROOT = "pulumi:pulumi:Stack"


def stack() -> Program:
    # The properties of the stack resource are the outputs; constants are known at a first preview.
    return [Declared(ROOT, "acme-prod", {"environment": "prod"}), *s3()]


TRAIL_WRITES = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::acme-files/*",
    "Condition": {
        "StringEquals": {"aws:SourceArn": f"arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/acme"}
    },
}
"""Statement that allows one trail to deliver log files."""


def trail() -> Program:
    files = find(s3(), "files")
    purpose = {**files.inputs["tags"], "gatehouse:purpose": "trail"}
    program = changed(without(s3(), "files-replication", "selection"), "files", tags=purpose)
    return [
        *changed(program, "files-policy", policy=document(*tls_only("acme-files"), TRAIL_WRITES)),
        declared(
            "s3.BucketObjectLockConfiguration",
            "files-lock",
            bucket=Ref("files", "bucket"),
            rule={"defaultRetention": {"mode": "COMPLIANCE", "days": 365}},
        ),
        declared(
            "cloudtrail.Trail",
            "trail",
            s3BucketName=Ref("files", "bucket"),
            advancedEventSelectors=[DATA_EVENTS, MANAGEMENT_EVENTS],
            isMultiRegionTrail=True,
            enableLogFileValidation=True,
            kmsKeyId=Ref("key", "arn"),
            cloudWatchLogsGroupArn="arn:aws:logs:::group",
            cloudWatchLogsRoleArn="arn:aws:iam:::role",
        ),
        *watch_of_trail(),
    ]


def watch_of_trail() -> Program:
    return [
        resource
        for resource in watch()
        if resource.name.endswith(("-filter", "-observed", "trail-logs", "alarms", "alarms-policy"))
    ]
