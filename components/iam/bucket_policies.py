"""Bucket policies, with the statements for AWS services that deliver logs, and the key policy statement for a bucket."""

from collections.abc import Sequence

from components.iam.documents import Document, Statement, allow, deny, deny_insecure_transport, document
from components.naming import Naming

LOAD_BALANCER_PREFIXES = ("edge-access", "edge-connection")
"""Key prefixes of access and connection logs. Elastic Load Balancing rejects a prefix that contains AWSLogs."""
CONFIG_PREFIX = "config"
"""Key prefix of AWS Config deliveries."""


def bucket_policy(names: Naming, bucket: str, *, encrypted_by_key: bool, writers: tuple[Statement, ...] = ()) -> Document:
    """Return the policy of a bucket.

    bucket: Full name of the bucket.
    encrypted_by_key: The default encryption is a customer managed key. Requests that name another encryption are then
        denied; S3 evaluates the policy before it applies the default, so requests without one get the key (S3 User
        Guide, "Setting default server-side encryption behavior for Amazon S3 buckets").
    writers: Statements that allow AWS services to write.
    """
    arn = f"arn:aws:s3:::{bucket}"
    everything, objects = [arn, f"{arn}/*"], [f"{arn}/*"]
    not_service = {"aws:PrincipalIsAWSService": "false"}
    statements = [
        deny_insecure_transport("s3:*", everything),
        deny("DenyOutdatedTls", "s3:*", everything, conditions={"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
        deny(
            "DenyOtherAccounts",
            "s3:*",
            everything,
            conditions={"StringNotEquals": {"aws:PrincipalAccount": names.account}, "BoolIfExists": not_service},
        ),
        deny(
            "DenyCustomerProvidedKeys",
            "s3:PutObject",
            objects,
            conditions={"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
    ]
    if encrypted_by_key:
        # CloudTrail names the key in each request, therefore AWS services are exempt.
        statements += [
            deny(
                "DenyOtherKmsKeys",
                "s3:PutObject",
                objects,
                conditions={
                    "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"},
                    "BoolIfExists": not_service,
                },
            ),
            deny(
                "DenyOtherEncryption",
                "s3:PutObject",
                objects,
                conditions={"Null": {"s3:x-amz-server-side-encryption": "false"}, "BoolIfExists": not_service},
            ),
        ]
    return document(*statements, *writers)


def access_log_writers(names: Naming, sink: str, sources: tuple[str, ...]) -> tuple[Statement, ...]:
    """Allow S3 to write the access logs of `sources` under `s3/` in the bucket `sink`. All are full bucket names."""
    return (
        allow(
            "AllowS3AccessLogs",
            "s3:PutObject",
            [f"arn:aws:s3:::{sink}/s3/*"],
            principal={"Service": "logging.s3.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": [f"arn:aws:s3:::{source}" for source in sources]},
            },
        ),
    )


def load_balancer_log_writers(names: Naming, sink: str, prefixes: tuple[str, ...]) -> tuple[Statement, ...]:
    """Allow the stack's load balancers to write logs. Source: Elastic Load Balancing User Guide, "Enable access logs for
    your Application Load Balancer"."""
    return (
        allow(
            "AllowLoadBalancerLogs",
            "s3:PutObject",
            [f"arn:aws:s3:::{sink}/{prefix}/AWSLogs/{names.account}/*" for prefix in prefixes],
            principal={"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("elasticloadbalancing", f"loadbalancer/app/{names.name('*')}")},
            },
        ),
    )


def trail_writers(names: Naming, bucket: str) -> tuple[Statement, ...]:
    """Allow CloudTrail to write the stack's trail. Source: CloudTrail User Guide, "Amazon S3 bucket policy for
    CloudTrail"."""
    service = {"Service": "cloudtrail.amazonaws.com"}
    source = {"aws:SourceArn": names.arn("cloudtrail", f"trail/{names.name('trail')}")}
    return (
        allow(
            "AllowCloudTrailAclCheck",
            "s3:GetBucketAcl",
            [f"arn:aws:s3:::{bucket}"],
            principal=service,
            conditions={"StringEquals": source},
        ),
        allow(
            "AllowCloudTrailWrite",
            "s3:PutObject",
            [f"arn:aws:s3:::{bucket}/AWSLogs/{names.account}/*"],
            principal=service,
            conditions={"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
        ),
    )


def config_writers(names: Naming, sink: str, prefix: str = CONFIG_PREFIX) -> tuple[Statement, ...]:
    """Allow AWS Config to deliver under `prefix`. Source: AWS Config Developer Guide, "Permissions for the Amazon S3 Bucket
    for the AWS Config Delivery Channel"."""
    service = {"Service": "config.amazonaws.com"}
    arn, source = f"arn:aws:s3:::{sink}", {"aws:SourceAccount": names.account}
    return (
        allow("AllowConfigAclCheck", "s3:GetBucketAcl ListBucket", [arn], principal=service, conditions={"StringEquals": source}),
        allow(
            "AllowConfigWrite",
            "s3:PutObject",
            [f"{arn}/{prefix}/AWSLogs/{names.account}/Config/*"],
            principal=service,
            conditions={"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
        ),
    )


def key_use(sid: str, names: Naming, bucket: str, actions: Sequence[str], principal: str | Sequence[str]) -> Statement:
    """Return a key policy statement that allows S3 to use the key for objects of one bucket on behalf of `principal`.

    With an S3 Bucket Key, the encryption context is the bucket ARN instead of the object ARN (S3 User Guide, "Reducing the
    cost of SSE-KMS with Amazon S3 Bucket Keys").

    bucket: Resource name of the bucket.
    principal: ARNs of roles.
    """
    return allow(
        sid,
        actions,
        ["*"],
        principal={"AWS": principal},
        conditions={
            "StringEquals": {
                "kms:CallerAccount": names.account,
                "kms:ViaService": f"s3.{names.region}.amazonaws.com",
                "kms:EncryptionContext:aws:s3:arn": names.bucket_arn(bucket),
            }
        },
    )
