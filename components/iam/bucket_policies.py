"""Bucket policies, with the statements for AWS services that deliver logs."""

from components.iam.documents import (
    Conditions,
    Document,
    Statement,
    allow,
    allow_service,
    deny,
    deny_insecure_transport,
    document,
)
from components.naming import CLOUDFRONT_REGION, Naming

LOAD_BALANCER_PREFIXES = ("edge-access", "edge-connection")
"""Key prefixes of access and connection logs. Elastic Load Balancing rejects a prefix that contains
AWSLogs.
"""
CONFIG_PREFIX = "config"
"""Key prefix of AWS Config deliveries."""


def bucket_policy(
    names: Naming, bucket: str, *writers: Statement, encrypted_by_key: bool
) -> Document:
    """Return the policy of a bucket.

    encrypted_by_key: Whether the default encryption uses a customer managed key. Requests that
        specify an encryption are denied, and requests that specify none use the default (S3 User
        Guide, "Setting default server-side encryption behavior for Amazon S3 buckets").
    writers: Additional statements, which allow AWS services to write or deny requests.
    """
    arn = names.s3_arn(bucket)
    everything, objects = [arn, f"{arn}/*"], [f"{arn}/*"]
    not_service = {"aws:PrincipalIsAWSService": "false"}
    other_account = {
        "StringNotEquals": {"aws:PrincipalAccount": names.account},
        "BoolIfExists": not_service,
    }
    customer_key = {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}
    statements = [
        deny_insecure_transport("s3:*", everything),
        deny(
            "DenyOutdatedTls",
            "s3:*",
            everything,
            conditions={"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        ),
        deny("DenyOtherAccounts", "s3:*", everything, conditions=other_account),
        deny("DenyCustomerProvidedKeys", "s3:PutObject", objects, conditions=customer_key),
    ]
    if encrypted_by_key:
        # CloudTrail specifies the key in each request, so AWS services are exempt.
        for sid, header in (("DenyOtherKmsKeys", "-aws-kms-key-id"), ("DenyOtherEncryption", "")):
            specifies_encryption = {
                "Null": {f"s3:x-amz-server-side-encryption{header}": "false"},
                "BoolIfExists": not_service,
            }
            statements.append(deny(sid, "s3:PutObject", objects, conditions=specifies_encryption))
    return document(*statements, *writers)


def deny_presigned_requests(names: Naming, bucket: str) -> Statement:
    """Deny presigned requests, with which a role with access to the bucket could give others access
    to objects. Source: Amazon S3 API Reference, "Amazon S3 Signature Version 4 Authentication
    Specific Policy Keys".
    """
    conditions: Conditions = {"StringEquals": {"s3:authType": ["REST-QUERY-STRING", "POST"]}}
    objects = [names.s3_arn(f"{bucket}/*")]
    return deny("DenyPresignedRequests", "s3:*", objects, conditions=conditions)


def access_log_writers(names: Naming, sink: str, sources: tuple[str, ...]) -> Statement:
    """Allow S3 to write the access logs of `sources` under `s3/` in the bucket `sink`. The
    arguments are full bucket names.
    """
    return allow_service(
        "logging.s3",
        "AllowS3AccessLogs",
        "s3:PutObject",
        [names.s3_arn(f"{sink}/s3/*")],
        account=names.account,
        source_arn=[names.s3_arn(source) for source in sources],
    )


def load_balancer_log_writers(names: Naming, sink: str, prefixes: tuple[str, ...]) -> Statement:
    """Allow the stack's load balancers to write logs. Source: Elastic Load Balancing User Guide,
    "Enable access logs for your Application Load Balancer"."""
    return allow_service(
        "logdelivery.elasticloadbalancing",
        "AllowLoadBalancerLogs",
        "s3:PutObject",
        [names.s3_arn(f"{sink}/{prefix}/AWSLogs/{names.account}/*") for prefix in prefixes],
        account=names.account,
        source_arn=names.arn("elasticloadbalancing", f"loadbalancer/app/{names.name('*')}"),
    )


def edge_log_writers(names: Naming, sink: str) -> tuple[Statement, ...]:
    """Allow the delivery of logs of the distribution and its web ACL. Sources: CloudWatch Logs User
    Guide, "Logs sent to Amazon S3"; AWS WAF Developer Guide, "Amazon S3 destinations"."""
    objects = f"AWSLogs/{names.account}/*"
    sources = {"aws:SourceArn": names.in_region(CLOUDFRONT_REGION).arn("logs", "*")}
    source = {"StringEquals": {"aws:SourceAccount": names.account}, "ArnLike": sources}
    return _owned_writes("delivery.logs", "s3:GetBucketAcl", names.s3_arn(sink), objects, source)


def distribution_readers(names: Naming, bucket: str) -> Statement:
    """Allow the account's distributions to read objects through origin access control. CloudFront
    assigns the IDs of distributions, so the policy contains a pattern, which is known at preview.
    Source: CloudFront Developer Guide, "Restrict access to an Amazon S3 origin"."""
    objects, source = [names.s3_arn(f"{bucket}/*")], names.distributions_arn
    return allow_service(
        "cloudfront", "AllowDistributions", "s3:GetObject", objects, source_arn=source
    )


def trail_writers(names: Naming, bucket: str) -> tuple[Statement, ...]:
    """Allow CloudTrail to write the stack's trail, and nobody else to replace an object, because
    a replaced version is deleted when its object lock ends. S3 accepts `s3:if-none-match` only for
    PutObject. Sources: CloudTrail User Guide, "Amazon S3 bucket policy for CloudTrail"; S3 User
    Guide, "Enforce conditional writes on Amazon S3 buckets"."""
    trail = names.arn("cloudtrail", f"trail/{names.name('trail')}")
    arn, log = names.s3_arn(bucket), f"AWSLogs/{names.account}/*"
    source, objects = {"StringEquals": {"aws:SourceArn": trail}}, [f"{arn}/*"]
    others: Conditions = {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}
    replaces: Conditions = {**others, "Null": {"s3:if-none-match": "true"}}
    return (
        deny("DenyReplacements", "s3:PutObject", objects, conditions=replaces),
        deny("DenyReplicas", "s3:Replicate*", objects, conditions=others),
        *_owned_writes("cloudtrail", "s3:GetBucketAcl", arn, log, source),
    )


def config_writers(names: Naming, sink: str) -> tuple[Statement, ...]:
    """Allow AWS Config to write to the bucket. Source: AWS Config Developer Guide, "Permissions for
    the Amazon S3 Bucket for the AWS Config Delivery Channel"."""
    objects = f"{CONFIG_PREFIX}/AWSLogs/{names.account}/Config/*"
    source = {"StringEquals": {"aws:SourceAccount": names.account}}
    check = "s3:GetBucketAcl ListBucket"
    return _owned_writes("config", check, names.s3_arn(sink), objects, source)


def _owned_writes(
    service: str, check: str, bucket_arn: str, objects: str, source: dict[str, dict[str, str]]
) -> tuple[Statement, ...]:
    """Allow a service to verify its access to the bucket, and to write objects that the bucket
    owner owns.
    """
    name, principal = service.title().replace(".", ""), {"Service": f"{service}.amazonaws.com"}
    equal = {**source["StringEquals"], "s3:x-amz-acl": "bucket-owner-full-control"}
    owned, written = {**source, "StringEquals": equal}, [f"{bucket_arn}/{objects}"]
    return (
        allow(f"Allow{name}AclCheck", check, [bucket_arn], principal=principal, conditions=source),
        allow(f"Allow{name}Write", "s3:PutObject", written, principal=principal, conditions=owned),
    )
