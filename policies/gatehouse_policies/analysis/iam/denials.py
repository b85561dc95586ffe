"""Requests that a resource policy denies to everyone."""

from collections.abc import Iterable

from gatehouse_policies.analysis.iam.conditions import Context, holds
from gatehouse_policies.analysis.iam.grammar import Document, Statement, matches

_WITHOUT_TLS: Context = {"aws:securetransport": "false"}
_WITH_OLD_TLS: Context = {"s3:tlsversion": "1.1"}
# AWS services such as CloudTrail specify their configured key in each request, so a Deny statement
# may exclude these services.
_OF_USER: Context = {"aws:principalisawsservice": "false"}
_WITH_CUSTOMER_KEY: Context = {
    **_OF_USER,
    "s3:x-amz-server-side-encryption-customer-algorithm": "AES256",
}
_WITH_OTHER_KEY: Context = {
    **_OF_USER,
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:000000000000:key/a",
}
# Without a second factor, by a principal that no exception names.
_OF_OTHERS: Context = {
    "aws:principalarn": "arn:aws:iam::000000000000:role/a",
    "aws:multifactorauthpresent": "false",
    "aws:multifactorauthage": (),
}
# From the internet.
_FROM_ELSEWHERE: Context = {
    "aws:sourceip": "198.51.100.1",
    **dict.fromkeys(("aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"), ()),
}
_ON_BUCKET, _ON_OBJECTS = ("s3:ListBucket",), ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")


def denies(
    document: Document, actions: Iterable[str], context: Context, resource: str = ""
) -> bool:
    """True if everyone is denied each of the actions in requests with this context.

    context: all condition keys on which the denial may depend. resource: the last part of the ARN;
        if empty, the statements apply to any resource.
    """
    statements = [
        deny
        for deny in document.denies
        if deny.not_principals is None
        and deny.applies_to_everyone()
        and all(condition.key in context for condition in deny.conditions)
        and holds(deny.conditions, context, variables=False)
        and (not resource or _applies_to(deny, resource))
    ]
    return all(any(deny.covers_action(action) for deny in statements) for action in actions)


def denies_requests_without_tls(document: Document, *actions: str, name: str = "") -> bool:
    """As `denies`. name: the last part of the ARN of the resource."""
    return denies(document, actions, _WITHOUT_TLS, name)


def denies_plain_http(document: Document, bucket: str = "") -> bool:
    """True if requests without TLS are denied on the bucket and its objects.

    bucket: name of the bucket. If empty, the function accepts any bucket of the statements.

    https://docs.aws.amazon.com/config/latest/developerguide/s3-bucket-ssl-requests-only.html
    """
    return _denies_on_bucket(document, bucket, _WITHOUT_TLS)


def denies_tls_below_1_2(document: Document, bucket: str = "") -> bool:
    return _denies_on_bucket(document, bucket, _WITH_OLD_TLS)


def denies_policy_changes(document: Document) -> bool:
    """True if everyone is denied policy changes, or everyone outside one network.

    Only the root user of the account can then restore access:
    https://repost.aws/knowledge-center/s3-accidentally-denied-access
    """
    actions = ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy")
    return any(denies(document, [action], _FROM_ELSEWHERE) for action in actions)


def denies_customer_provided_keys(document: Document, bucket: str = "") -> bool:
    """True if uploads with a customer-provided key (SSE-C) are denied.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    return _denies_on_objects(document, bucket, ("s3:PutObject",), _WITH_CUSTOMER_KEY)


def denies_other_kms_keys(document: Document, bucket: str = "") -> bool:
    return _denies_on_objects(document, bucket, ("s3:PutObject",), _WITH_OTHER_KEY)


def _denies_on_bucket(document: Document, bucket: str, context: Context) -> bool:
    return any(
        denies(document, _ON_BUCKET, context, name)
        and denies(document, _ON_OBJECTS, context, f"{name}/a")
        for name in _names(document, bucket)
    )


def _denies_on_objects(
    document: Document, bucket: str, actions: Iterable[str], context: Context
) -> bool:
    names = _names(document, bucket)
    return any(denies(document, actions, context, f"{name}/a") for name in names)


def _names(document: Document, bucket: str) -> list[str]:
    """The bucket, or the buckets that the statements can name."""
    resources = (arn for deny in document.denies for arn in deny.resources or ())
    return [bucket] if bucket else [_last(arn).partition("/")[0] for arn in resources]


def _applies_to(deny: Statement, resource: str) -> bool:
    return any(matches(resource, _last(arn)) for arn in deny.resources or ())


def _last(arn: str) -> str:
    return arn.rpartition(":")[2]
