"""S3 buckets and their configuration, one resource type per setting as in pulumi-aws 7."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _create_bucket(request: CreateRequest) -> Created:
    name = request.take("bucket") or f"{request.registration.name}-{request.account}-{request.region}".lower()
    parameters: dict[str, Any] = {"Bucket": name}
    if request.region != "us-east-1":
        parameters["CreateBucketConfiguration"] = {"LocationConstraint": request.region}
    if request.take("objectLockEnabled"):
        parameters["ObjectLockEnabledForBucket"] = True
    request.call("s3.create_bucket", parameters)
    if request.tags:
        request.call("s3.put_bucket_tagging", Bucket=name, Tagging={"TagSet": request.tag_list()})
    return name, {
        "arn": f"arn:aws:s3:::{name}",
        "bucket": name,
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{request.region}.amazonaws.com",
        "bucketRegion": request.region,
    }


def _setting(
    operation: str,
    member: str,
    names: Mapping[str, str],
    build: Callable[[CreateRequest], Any],
    ignored: Mapping[str, str] | None = None,
) -> ResourceType:
    """A resource type that makes one `put_bucket_*` call with the structure that `build` returns."""

    def put_setting(request: CreateRequest) -> Created:
        bucket = request.take("bucket")
        owner = request.take("expectedBucketOwner")
        value = build(request)
        body = value if isinstance(value, str) else request.part(f"s3.{operation}", member, value, names)
        request.call(f"s3.{operation}", {"Bucket": bucket, member: body, **({"ExpectedBucketOwner": owner} if owner else {})})
        return bucket, {}

    return ResourceType(create=put_setting, ignored=ignored or {})


def _inputs(*inputs: str) -> Callable[[CreateRequest], dict[str, Any]]:
    return lambda request: request.take_all(*inputs)


def _encryption(request: CreateRequest) -> dict[str, Any]:
    return {"rules": request.take("rules")}


def _lifecycle(request: CreateRequest) -> dict[str, Any]:
    """Add the filter that the API requires in each rule: like the provider, an empty prefix if there is none."""
    rules = []
    for rule in request.take("rules"):
        conditions = {key: value for key, value in (rule.get("filter") or {}).items() if value is not None}
        rules.append({**rule, "filter": conditions or {"prefix": ""}})
    return {"rules": rules}


def _object_lock(request: CreateRequest) -> dict[str, Any]:
    return {"objectLockEnabled": request.take("objectLockEnabled") or "Enabled", "rule": request.take("rule")}


def _logging(request: CreateRequest) -> dict[str, Any]:
    return {"loggingEnabled": request.take_all("targetBucket", "targetPrefix", "targetGrants", "targetObjectKeyFormat")}


def _replication(request: CreateRequest) -> dict[str, Any]:
    return {"role": request.take("role"), "rules": request.take("rules")}


def _set_account_public_access_block(request: CreateRequest) -> Created:
    account = request.take("accountId") or request.account
    flags = _inputs("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")(request)
    body = request.part("s3control.put_public_access_block", "PublicAccessBlockConfiguration", flags)
    request.check("s3control.put_public_access_block", {"AccountId": account, "PublicAccessBlockConfiguration": body})
    moto_patches.set_account_public_access_block(account, body)
    return account, {"accountId": account}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": ResourceType(create=_set_account_public_access_block),
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": _setting(
        "put_bucket_replication",
        "ReplicationConfiguration",
        {"id": "ID", "replicaKmsKeyId": "ReplicaKmsKeyID"},
        _replication,
    ),
    "aws:s3/bucket:Bucket": ResourceType(create=_create_bucket, ignored={"forceDestroy": PULUMI_ONLY}),
    "aws:s3/bucketVersioning:BucketVersioning": _setting(
        "put_bucket_versioning",
        "VersioningConfiguration",
        {"mfaDelete": "MFADelete"},
        lambda request: request.take("versioningConfiguration"),
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
        _inputs("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"),
        {"skipDestroy": PULUMI_ONLY},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting(
        "put_bucket_ownership_controls",
        "OwnershipControls",
        {},
        lambda request: {"rules": [request.take("rule")]},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting("put_bucket_policy", "Policy", {}, lambda request: str(request.take("policy"))),
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
