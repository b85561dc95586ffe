"""Bucket policies: what every bucket refuses to everybody, and what log services may write; and what a bucket asks of its key."""

from collections.abc import Sequence

from components.iam.documents import Document, Statement, allow, deny, document
from components.naming import Naming

BALANCER_PREFIXES = ("edge-access", "edge-connection")
"""Where in the log bucket the load balancer's access and connection logs lie; ELB refuses a prefix that contains AWSLogs."""
CONFIG_PREFIX = "config"
"""Where AWS Config's history lies."""


def bucket_policy(names: Naming, bucket: str, *, encrypted_by_key: bool, writers: tuple[Statement, ...] = ()) -> Document:
    """The policy of a bucket with this full name.

    encrypted_by_key: the bucket's default encryption is a KMS key of ours. Then no writer may choose another
    encryption: S3 decides before it applies the default (S3 user guide, "Setting default server-side encryption
    behavior"), so a request that names none gets our key.
    writers: statements that let services write.
    """
    arn = f"arn:aws:s3:::{bucket}"
    both, objects = [arn, f"{arn}/*"], [f"{arn}/*"]
    people = {"aws:PrincipalIsAWSService": "false"}
    statements = [
        deny("OnlyTls", ["s3:*"], both, conditions={"Bool": {"aws:SecureTransport": "false"}}),
        deny("OnlyTls12", ["s3:*"], both, conditions={"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
        deny(
            "OnlyOurAccount",
            ["s3:*"],
            both,
            conditions={"StringNotEquals": {"aws:PrincipalAccount": names.account}, "BoolIfExists": people},
        ),
        deny(
            "NoCustomerKeys",
            ["s3:PutObject"],
            objects,
            conditions={"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
    ]
    if encrypted_by_key:
        # CloudTrail names the trail's key in each request, hence the exception for services.
        statements += [
            deny(
                "NoOtherKey",
                ["s3:PutObject"],
                objects,
                conditions={
                    "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"},
                    "BoolIfExists": people,
                },
            ),
            deny(
                "NoOtherEncryption",
                ["s3:PutObject"],
                objects,
                conditions={"Null": {"s3:x-amz-server-side-encryption": "false"}, "BoolIfExists": people},
            ),
        ]
    return document(*statements, *writers)


def access_log_writers(names: Naming, sink: str, sources: tuple[str, ...]) -> tuple[Statement, ...]:
    """S3 may write the access logs of these buckets (full names) under `s3/` in the bucket `sink`."""
    return (
        allow(
            "AccessLogs",
            ["s3:PutObject"],
            [f"arn:aws:s3:::{sink}/s3/*"],
            principal={"Service": "logging.s3.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": [f"arn:aws:s3:::{source}" for source in sources]},
            },
        ),
    )


def load_balancer_log_writers(names: Naming, sink: str, prefixes: tuple[str, ...]) -> tuple[Statement, ...]:
    """Load balancers of this stack may write their logs. Source: ELB user guide, "Enable access logs", bucket policy
    for all regions."""
    return (
        allow(
            "LoadBalancerLogs",
            ["s3:PutObject"],
            [f"arn:aws:s3:::{sink}/{prefix}/AWSLogs/{names.account}/*" for prefix in prefixes],
            principal={"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("elasticloadbalancing", f"loadbalancer/app/{names.name('*')}")},
            },
        ),
    )


def trail_writers(names: Naming, bucket: str) -> tuple[Statement, ...]:
    """CloudTrail may write this stack's trail. Source: CloudTrail user guide, "Amazon S3 bucket policy for
    CloudTrail"."""
    service = {"Service": "cloudtrail.amazonaws.com"}
    source = {"aws:SourceArn": names.arn("cloudtrail", f"trail/{names.name('trail')}")}
    return (
        allow(
            "TrailLooksAtBucket",
            ["s3:GetBucketAcl"],
            [f"arn:aws:s3:::{bucket}"],
            principal=service,
            conditions={"StringEquals": source},
        ),
        allow(
            "TrailWrites",
            ["s3:PutObject"],
            [f"arn:aws:s3:::{bucket}/AWSLogs/{names.account}/*"],
            principal=service,
            conditions={"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
        ),
    )


def config_writers(names: Naming, sink: str, prefix: str = CONFIG_PREFIX) -> tuple[Statement, ...]:
    """AWS Config may write its history below the prefix. Source: Config developer guide, "Permissions for the Amazon S3
    bucket for the AWS Config delivery channel"."""
    service = {"Service": "config.amazonaws.com"}
    arn, source = f"arn:aws:s3:::{sink}", {"aws:SourceAccount": names.account}
    return (
        allow(
            "ConfigLooksAtBucket",
            ["s3:GetBucketAcl", "s3:ListBucket"],
            [arn],
            principal=service,
            conditions={"StringEquals": source},
        ),
        allow(
            "ConfigWrites",
            ["s3:PutObject"],
            [f"{arn}/{prefix}/AWSLogs/{names.account}/Config/*"],
            principal=service,
            conditions={"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
        ),
    )


def key_use(sid: str, names: Naming, thing: str, actions: Sequence[str], principal: str | Sequence[str]) -> Statement:
    """For the policy of the key of the bucket `thing`: S3 uses it for these roles (ARNs), in this bucket alone.

    With a bucket key, the encryption context names the bucket and not the object (S3 user guide, "Reducing the cost of SSE-KMS
    with Amazon S3 Bucket Keys").
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
                "kms:EncryptionContext:aws:s3:arn": names.bucket_arn(thing),
            }
        },
    )
