"""Buckets and their settings, each a resource of its own as in pulumi-aws 7."""

from collections.abc import Callable, Mapping
from typing import Any

from moto.s3control.models import s3control_backends

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _bucket(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("bucket") or f"{make.registration.name}-{make.account}-{make.region}".lower()
    parameters: dict[str, Any] = {"Bucket": name}
    if make.region != "us-east-1":
        parameters["CreateBucketConfiguration"] = {"LocationConstraint": make.region}
    if make.take("objectLockEnabled"):
        parameters["ObjectLockEnabledForBucket"] = True
    make.call("s3.create_bucket", parameters)
    if make.tags:
        make.call("s3.put_bucket_tagging", Bucket=name, Tagging={"TagSet": make.tag_list()})
    return name, {
        "arn": f"arn:aws:s3:::{name}",
        "bucket": name,
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{make.region}.amazonaws.com",
        "bucketRegion": make.region,
    }


def _setting(
    operation: str,
    member: str,
    names: Mapping[str, str],
    build: Callable[[Make], Any],
    ignored: Mapping[str, str] | None = None,
) -> Row:
    """A put_bucket_* call: one structure, built from the inputs, put on a bucket."""

    def make_setting(make: Make) -> tuple[str, dict[str, Any]]:
        bucket = make.take("bucket")
        owner = make.take("expectedBucketOwner")
        value = build(make)
        body = value if isinstance(value, str) else make.part(f"s3.{operation}", member, value, names)
        make.call(f"s3.{operation}", {"Bucket": bucket, member: body, **({"ExpectedBucketOwner": owner} if owner else {})})
        return bucket, {}

    return Row(make=make_setting, ignored=ignored or {})


def _all(*inputs: str) -> Callable[[Make], dict[str, Any]]:
    return lambda make: {name: make.peek(name) for name in inputs if make.take(name) is not None}


def _encryption(make: Make) -> dict[str, Any]:
    return {"rules": make.take("rules")}


def _lifecycle(make: Make) -> dict[str, Any]:
    """AWS wants a filter in every rule; the provider sends an empty prefix where the program has none."""
    rules = []
    for rule in make.take("rules"):
        chosen = rule.get("filter") or {}
        rules.append({**rule, "filter": chosen if any(value is not None for value in chosen.values()) else {"prefix": ""}})
    return {"rules": rules}


def _object_lock(make: Make) -> dict[str, Any]:
    return {"objectLockEnabled": make.take("objectLockEnabled") or "Enabled", "rule": make.take("rule")}


def _logging(make: Make) -> dict[str, Any]:
    names = ("targetBucket", "targetPrefix", "targetGrants", "targetObjectKeyFormat")
    return {"loggingEnabled": {name: make.peek(name) for name in names if make.take(name) is not None}}


def _replication(make: Make) -> dict[str, Any]:
    return {"role": make.take("role"), "rules": make.take("rules")}


def _account_block(make: Make) -> tuple[str, dict[str, Any]]:
    """botocore puts the account in front of S3 Control's address, which an address that is a number does not take: AWS's
    model checks the call, and moto holds what it would have put."""
    account = make.take("accountId") or make.account
    flags = _all("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")(make)
    body = make.part("s3control.put_public_access_block", "PublicAccessBlockConfiguration", flags)
    make.check("s3control.put_public_access_block", {"AccountId": account, "PublicAccessBlockConfiguration": body})
    s3control_backends[account]["aws"].put_public_access_block(account, body)
    return account, {"accountId": account}


ROWS: dict[str, Row] = {
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": Row(make=_account_block),
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": _setting(
        "put_bucket_replication",
        "ReplicationConfiguration",
        {"id": "ID", "replicaKmsKeyId": "ReplicaKmsKeyID"},
        _replication,
    ),
    "aws:s3/bucket:Bucket": Row(make=_bucket, ignored={"forceDestroy": HOW_PULUMI_WORKS}),
    "aws:s3/bucketVersioning:BucketVersioning": _setting(
        "put_bucket_versioning",
        "VersioningConfiguration",
        {"mfaDelete": "MFADelete"},
        lambda make: make.take("versioningConfiguration"),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _setting(
        "put_bucket_encryption",
        "ServerSideEncryptionConfiguration",
        {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"},
        _encryption,
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _setting(
        "put_public_access_block",
        "PublicAccessBlockConfiguration",
        {},
        _all("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"),
        {"skipDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting(
        "put_bucket_ownership_controls",
        "OwnershipControls",
        {},
        lambda make: {"rules": [make.take("rule")]},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting("put_bucket_policy", "Policy", {}, lambda make: str(make.take("policy"))),
    "aws:s3/bucketLogging:BucketLogging": _setting("put_bucket_logging", "BucketLoggingStatus", {}, _logging),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _setting(
        "put_bucket_lifecycle_configuration",
        "LifecycleConfiguration",
        {"id": "ID"},
        _lifecycle,
        {"transitionDefaultMinimumObjectSize": "moto has one default for all buckets"},
    ),
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": _setting(
        "put_object_lock_configuration",
        "ObjectLockConfiguration",
        {},
        _object_lock,
    ),
}
