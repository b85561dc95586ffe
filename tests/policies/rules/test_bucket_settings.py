"""Settings on a bucket itself are evaluated like the separate resources."""

from typing import Any

import pytest
from pulumi_local.types import UNKNOWN

from tests.policies.declared import ACCOUNT, Ref, Unknown
from tests.policies.pack_process import Diagnostic, Evaluation
from tests.policies.rules.builders import Program, changed, declared, retyped, without
from tests.policies.rules.programs import s3

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/files"
SEPARATE = ("versioning", "encryption", "logging", "lifecycle", "replication")
RULE: dict[str, Any] = {
    "enabled": True,
    "abortIncompleteMultipartUploadDays": 7,
    "noncurrentVersionExpiration": {"days": 30},
}
COPY: dict[str, Any] = {
    "status": "Enabled",
    "sourceSelectionCriteria": {"sseKmsEncryptedObjects": {"enabled": True}},
    "deleteMarkerReplicationStatus": "Enabled",
    "destination": {
        "bucket": "arn:aws:s3:::acme-copies",
        "replicaKmsKeyId": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/copies",
        "metrics": {"status": "Enabled"},
    },
}


def encryption(algorithm: str = "aws:kms", **changes: Any) -> dict[str, Any]:
    default = {"sseAlgorithm": algorithm, "kmsMasterKeyId": KEY}
    rule = {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True, **changes}
    return {"rule": rule}


SETTINGS: dict[str, Any] = {
    "versioning": {"enabled": True},
    "serverSideEncryptionConfiguration": encryption(),
    "logging": {"targetBucket": Ref("sink", "bucket"), "targetPrefix": "s3/"},
    "lifecycleRules": [RULE],
    "replicationConfiguration": {"role": "arn", "rules": [COPY]},
}


def program(**changes: Any) -> Program:
    names = (f"files-{name}" for name in SEPARATE)
    return changed(without(s3(), *names), "files", **{**SETTINGS, **changes})


def diagnostics(resources: Program, known: bool = False) -> list[Diagnostic]:
    found = Evaluation(resources, known).diagnostics()
    return [item for item in found if item.policy != "GH-PUL-004"]  # the inputs are deprecated


@pytest.mark.parametrize("known", [False, True])
def test_settings_on_the_bucket_are_read(known: bool) -> None:
    assert diagnostics(program(), known) == []


def test_settings_of_the_deprecated_class_are_read() -> None:
    default = encryption()["rule"]["applyServerSideEncryptionByDefault"]
    rule = {"applyServerSideEncryptionByDefaults": [default], "bucketKeyEnabled": True}
    lifecycle = {**RULE, "noncurrentVersionExpirations": [{"days": 30}]}
    del lifecycle["noncurrentVersionExpiration"]
    resources = program(
        versioning=None,
        versionings=[{"enabled": True}],
        serverSideEncryptionConfiguration=None,
        serverSideEncryptionConfigurations=[{"rules": [rule]}],
        logging=None,
        loggings=[SETTINGS["logging"]],
        lifecycleRules=[lifecycle],
        replicationConfiguration=None,
        replicationConfigurations=[{"role": "arn", "rules": [COPY]}],
    )
    deprecated = retyped(
        resources, lambda token: token.replace("bucket:Bucket", "bucketV2:BucketV2")
    )
    assert diagnostics(deprecated) == []


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"versioning": None}, {"GH-S3-007"}),
        ({"versioning": {"enabled": False}}, {"GH-S3-007"}),
        ({"versioning": {}}, {"GH-S3-007"}),
        ({"serverSideEncryptionConfiguration": encryption("AES256")}, {"GH-S3-005"}),
        ({"serverSideEncryptionConfiguration": encryption(bucketKeyEnabled=False)}, {"GH-S3-005"}),
        ({"logging": None}, {"GH-S3-010"}),
        ({"logging": {"targetBucket": Ref("files", "bucket")}}, {"GH-S3-010"}),
        ({"lifecycleRules": [{**RULE, "enabled": False}]}, {"GH-S3-008", "GH-S3-009"}),
        ({"lifecycleRules": [{**RULE, "tags": {"a": "b"}}]}, {"GH-S3-008", "GH-S3-009"}),
        ({"lifecycleRules": [{**RULE, "prefix": "tmp/"}]}, {"GH-S3-008", "GH-S3-009"}),
        ({"lifecycleRules": [{**RULE, "noncurrentVersionExpiration": {"days": 1}}]}, {"GH-S3-008"}),
        ({"replicationConfiguration": {"rules": [{**COPY, "status": "Disabled"}]}}, {"GH-S3-013"}),
        ({"replicationConfiguration": {"rules": []}}, {"GH-S3-013"}),
    ],
)
def test_violation_of_a_setting_on_the_bucket_is_reported(
    changes: dict[str, Any], rules: set[str]
) -> None:
    assert {(item.policy, item.name) for item in diagnostics(program(**changes))} == {
        (rule, "files") for rule in rules
    }


@pytest.mark.parametrize(
    ("resource_class", "inputs", "is_reported"),
    [
        ("lb.LoadBalancer", {"accessLogs": {"bucket": Ref("files")}}, False),
        ("alb.LoadBalancer", {"connectionLogs": {"bucket": Ref("files")}}, False),
        ("elb.LoadBalancer", {"accessLogs": {"bucket": Ref("files")}}, False),
        ("s3.BucketLogging", {"bucket": "other", "targetBucket": Ref("files")}, False),
        ("s3.Bucket", {"logging": {"targetBucket": Ref("files")}}, False),
        (
            "lb.LoadBalancer",
            {"loadBalancerType": "network", "accessLogs": {"bucket": Ref("files")}},
            True,
        ),
        ("cloudtrail.Trail", {"s3BucketName": Ref("files")}, True),
    ],
)
def test_logs_that_a_kms_key_would_reject_require_none(
    resource_class: str, inputs: dict[str, Any], is_reported: bool
) -> None:
    sse_s3 = program(serverSideEncryptionConfiguration=encryption("AES256"))
    source = declared(resource_class, "source", **inputs)
    reported = {(item.policy, item.name) for item in diagnostics([*sse_s3, source])}
    assert (("GH-S3-005", "files") in reported) == is_reported


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"versioning": {"enabled": Unknown()}}, {"GH-S3-007"}),
        ({"versioning": Unknown()}, {"GH-S3-007"}),
        ({"serverSideEncryptionConfiguration": Unknown()}, {"GH-S3-005"}),
        ({"lifecycleRules": Unknown()}, {"GH-S3-008", "GH-S3-009"}),
        ({"lifecycleRules": [{**RULE, "enabled": Unknown()}]}, {"GH-S3-008", "GH-S3-009"}),
        ({"replicationConfiguration": Unknown()}, {"GH-S3-013"}),
    ],
)
def test_unknown_setting_on_the_bucket_is_undecided(
    changes: dict[str, Any], rules: set[str]
) -> None:
    found = diagnostics(program(**changes))
    assert {item.policy for item in found} == {"GH-UNDECIDED"}
    assert {item.message.split()[0] for item in found} == rules
    assert not any(UNKNOWN in item.message for item in found)
