"""Buckets."""

import pytest

from tests.components.program import run
from tests.components.settings.stack_settings import each_stack


def test_destroy_leaves_protected_buckets_with_their_configuration() -> None:
    parts = [row for row in run("prod").resources if row.type.startswith("aws:s3/bucket")]
    assert {row.type.rpartition(":")[2] for row in parts} >= {
        "BucketLifecycleConfiguration",
        "BucketLogging",
        "BucketReplicationConfig",
        "BucketServerSideEncryptionConfiguration",
    }
    assert [
        row.urn
        for row in parts
        if not row.protect and not row.deleted_with.endswith(f"aws:s3/bucket:Bucket::{row.name}")
    ] == []


@each_stack
def test_deletion_from_secrets_bucket_is_final(stack: str) -> None:
    program = run(stack)
    rules = program.get("s3.BucketLifecycleConfiguration", "secrets").inputs["rules"]
    assert [rule["status"] for rule in rules] == ["Enabled", "Enabled"]
    assert rules[0]["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    assert rules[0]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 1}
    # S3 rejects expiredObjectDeleteMarker together with days.
    assert (rules[0]["expiration"], rules[1]["expiration"]) == (
        {"days": 31},
        {"expiredObjectDeleteMarker": True},
    )
    bucket = program.get("s3.Bucket", "secrets")
    assert bucket.inputs["objectLockEnabled"] is False
    assert {a.name for a in program.of_type("s3.BucketObjectLockConfiguration")} == {"trail"}
    copied = {a.name for a in program.of_type("s3.BucketReplicationConfig")}
    assert copied == ({"data"} if stack == "prod" else set())
    (selection,) = program.of_type("backup.Selection")
    assert len(selection.inputs["resources"]) == 3
    assert not [arn for arn in selection.inputs["resources"] if "secrets" in arn]


@pytest.mark.parametrize("bucket", ["data", "replica-data"])
def test_replication_waits_for_versioning_of_both_buckets(bucket: str) -> None:
    program = run("prod")
    (replication,) = program.of_type("s3.BucketReplicationConfig")
    versioning = program.get("s3.BucketVersioning", bucket)
    assert versioning.urn in replication.dependencies
