"""Creates what a stack requires before its first deployment: a bucket for the Pulumi state, a KMS
key for the state and the secrets of the stack, and the stack itself. Idempotent."""

from typing import Any

from botocore.exceptions import ClientError

from components.iam.documents import deny_insecure_transport, document, render
from components.naming import Naming, default_tags
from components.settings.loader import parse, parse_account
from release.errors import CommandFailed, last_line, step
from release.pulumi.cli import missing, query
from release.pulumi.stack import ACCOUNT, Stack

STATE_VERSION_DAYS = 90


def state_bucket(stack: Stack) -> str:
    section = () if stack.project == ACCOUNT else ("delivery",)
    return stack.setting(*section, "state_bucket", default=_names(stack).bucket("state"))


def _names(stack: Stack) -> Naming:
    """Of the bucket and the key, which all stacks of the account and region use."""
    return stack.names.of_stack("pulumi")


def _tags(stack: Stack) -> list[dict[str, str]]:
    """Of the bucket and the key, also when they are created, because a policy of the organization
    can require them. They are not those of a stack, whose pipeline may change its resources.
    """
    read = parse_account if stack.project == ACCOUNT else parse
    own = {"Environment": _names(stack).stack, "ManagedBy": "bootstrap", "DataClass": "secret"}
    tags = default_tags(read(stack.settings, stack.name)) | own
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def backend_url(stack: Stack) -> str:
    """URL for `pulumi login`. Because of the region, the CLI does not require AWS_REGION."""
    return f"s3://{state_bucket(stack)}?region={stack.region}"


def bootstrap(stack: Stack) -> str:
    """The ARN of the KMS key. Raises CommandFailed and ClientError."""
    key_arn = _key(stack.client("kms"), _names(stack).alias("state"), _tags(stack))
    _bucket(stack.client("s3"), stack, key_arn)
    _service_linked_roles(stack)
    _pulumi(stack, "login", backend_url(stack))
    step(f"logged in: pulumi login '{backend_url(stack)}'")
    if missing(stack):
        provider = f"awskms://{_names(stack).alias('state')}?region={stack.region}"
        _pulumi(stack, "stack", "init", stack.name, "--secrets-provider", provider)
        step(f"created the stack {stack.name}. Commit {stack.file}")
    return key_arn


def _pulumi(stack: Stack, *words: str) -> None:
    if (result := query(stack, *words)).returncode:
        raise CommandFailed(f"pulumi {words[0]} failed: {last_line(result.stderr)}")


def _key(kms: Any, alias: str, tags: list[dict[str, str]]) -> str:
    """The ARN of the key, whose default policy lets IAM policies of the account grant access."""
    try:
        key = kms.describe_key(KeyId=alias)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        rows = [{"TagKey": row["Key"], "TagValue": row["Value"]} for row in tags]
        key = kms.create_key(Description=alias, Tags=rows)["KeyMetadata"]
        kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
        step(f"created the KMS key {alias}")
    kms.enable_key_rotation(KeyId=key["KeyId"])  # fails unless the key is enabled
    return str(key["Arn"])


def _service_linked_roles(stack: Stack) -> None:
    """AWS Config does not create its role, and ECS so late that it rejects the first services. In a
    new account, the first request of other services can fail in the same way.

    Sources: "Using service-linked roles" in the guides of Amazon ECS, AWS Config, Amazon RDS,
    Amazon ElastiCache and Elastic Load Balancing.
    """
    names = ["ecs", "rds", "elasticache", "elasticloadbalancing"]
    if stack.project == ACCOUNT:
        names = ["config"] if stack.setting("guards", "config_recorder") else []
    iam = stack.client("iam")
    for service in (f"{name}.amazonaws.com" for name in names):
        if not iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
            iam.create_service_linked_role(AWSServiceName=service)
            step(f"created the service-linked role of {service}")


def _bucket(s3: Any, stack: Stack, key_arn: str) -> None:
    owned = {"Bucket": state_bucket(stack), "ExpectedBucketOwner": stack.account}
    try:
        s3.head_bucket(**owned)
    except ClientError as exc:
        if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return _create_bucket(s3, stack, owned, key_arn)
        raise CommandFailed(
            f"{exc}: the bucket {owned['Bucket']} is in another account or region, or the "
            "credentials are not those of an administrator. Set another name (state_bucket)"
        ) from exc
    if s3.get_bucket_versioning(**owned).get("Status") != "Enabled":
        raise CommandFailed(f"the bucket {owned['Bucket']} exists without versioning. Delete it")
    return None


def _create_bucket(s3: Any, stack: Stack, owned: dict[str, str], key_arn: str) -> None:
    bucket = owned["Bucket"]
    region = {} if stack.region == "us-east-1" else {"LocationConstraint": stack.region}
    # Requires s3:TagResource (S3 API Reference, CreateBucket, read 2026-11-30).
    configuration = {**region, "Tags": _tags(stack)}
    s3.create_bucket(
        Bucket=bucket,
        ObjectOwnership="BucketOwnerEnforced",
        CreateBucketConfiguration=configuration,
    )
    expiration = {"NoncurrentVersionExpiration": {"NoncurrentDays": STATE_VERSION_DAYS}}
    rule = {"ID": "old-versions", "Status": "Enabled", "Filter": {"Prefix": ""}, **expiration}
    s3.put_bucket_lifecycle_configuration(**owned, LifecycleConfiguration={"Rules": [rule]})
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(**owned, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn}
    encryption = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(**owned, ServerSideEncryptionConfiguration={"Rules": [encryption]})
    arn = stack.names.s3_arn(bucket)
    policy = render(document(deny_insecure_transport("s3:*", [arn, f"{arn}/*"])))
    s3.put_bucket_policy(**owned, Policy=policy)
    s3.put_bucket_versioning(**owned, VersioningConfiguration={"Status": "Enabled"})
    step(f"created the bucket {bucket}")
