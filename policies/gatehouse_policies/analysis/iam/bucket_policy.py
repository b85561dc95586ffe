"""Analysis of the Deny statements of S3 bucket policies."""

from collections.abc import Callable

from gatehouse_policies.analysis.iam.document import is_without_tls
from gatehouse_policies.analysis.iam.grammar import Condition, Document, Statement, matches

_CUSTOMER_KEY = "s3:x-amz-server-side-encryption-customer-algorithm"
_KEY_ID = "s3:x-amz-server-side-encryption-aws-kms-key-id"
# AWS services such as CloudTrail specify their configured key in each request, so a Deny statement
# may exclude these services.
_IS_SERVICE = "aws:principalisawsservice"
_NETWORK_KEYS = ("aws:sourcevpc", "aws:sourcevpce", "aws:sourceip", "aws:vpcsourceip")


def denies_plain_http(document: Document, bucket: str = "") -> bool:
    """True if all principals are denied all actions without TLS on the bucket and its objects.

    bucket: name of the bucket. If empty, the function accepts any bucket, provided that the
        statements also cover the objects of this bucket.

    https://docs.aws.amazon.com/config/latest/developerguide/s3-bucket-ssl-requests-only.html
    """
    return _covers_bucket(document, bucket, is_without_tls)


def denies_tls_below_1_2(document: Document, bucket: str = "") -> bool:
    """True if all principals are denied all actions with TLS below 1.2 on the bucket and its
    objects.
    """

    def is_below(condition: Condition) -> bool:
        below = condition.key == "s3:tlsversion" and condition.operator == "numericlessthan"
        return below and all(_number(value) >= 1.2 for value in condition.values)

    return _covers_bucket(document, bucket, is_below)


def denies_policy_changes(document: Document) -> bool:
    """True if all principals are denied policy changes, unconditionally or from outside one
    network.

    Only the root user of the account can then restore access:
    https://repost.aws/knowledge-center/s3-accidentally-denied-access
    """
    return any(
        _applies_to_everyone(deny)
        and any(map(deny.covers_action, ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy")))
        and all(condition.key in _NETWORK_KEYS for condition in deny.conditions)
        for deny in document.denies
    )


def denies_customer_provided_keys(document: Document, bucket: str = "") -> bool:
    """True if all principals are denied uploads with a customer-provided key (SSE-C).

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    return any(_denies_writes_with(deny, _CUSTOMER_KEY, bucket) for deny in document.denies)


def denies_other_kms_keys(document: Document, bucket: str = "") -> bool:
    """True if all principals are denied uploads with a KMS key other than the allowed one, or with
    any KMS key.
    """
    return any(_denies_writes_with(deny, _KEY_ID, bucket) for deny in document.denies)


def denies_version_deletion(document: Document, bucket: str = "") -> bool:
    """True if all principals, or all except specified ones, are denied the deletion of object
    versions.
    """
    exceptions = ("aws:principalarn", "aws:multifactorauthpresent", "aws:multifactorauthage")
    return any(
        deny.covers_action("s3:DeleteObjectVersion")
        and _applies_to_everyone(deny)
        and _covers_objects(deny, bucket)
        and all(condition.key in exceptions for condition in deny.conditions)
        for deny in document.denies
    )


def _denies_writes_with(deny: Statement, key: str, bucket: str) -> bool:
    if not (
        deny.covers_action("s3:PutObject")
        and _applies_to_everyone(deny)
        and _covers_objects(deny, bucket)
    ):
        return False
    on_key = [condition for condition in deny.conditions if condition.key == key]
    others = [condition for condition in deny.conditions if condition.key not in (key, _IS_SERVICE)]
    return bool(on_key) and not others and all(map(_matches_other_key, on_key))


def _matches_other_key(condition: Condition) -> bool:
    """True for `Null: false`, which matches every request with a key, and for negations, which
    match every other key.
    """
    if condition.operator == "null":
        return condition.values == ("false",)
    negations = "stringnotequals stringnotequalsignorecase stringnotlike arnnotequals arnnotlike"
    has_name = all(value.strip("*?") for value in condition.values)
    return has_name and condition.operator in negations.split()


def _applies_to_everyone(deny: Statement) -> bool:
    return deny.not_principals is None and deny.applies_to_everyone()


def _covers_objects(deny: Statement, bucket: str) -> bool:
    names = [arn.rpartition(":::")[2] for arn in deny.resources or ()]
    return any(name == "*" or (name.endswith("/*") and bucket in ("", name[:-2])) for name in names)


def _covers_bucket(document: Document, bucket: str, condition: Callable[[Condition], bool]) -> bool:
    """True if, under this condition alone, all principals are denied all actions on the bucket and
    its objects.
    """
    covered = {
        resource
        for deny in document.denies
        if _applies_to_everyone(deny) and list(map(condition, deny.conditions)) == [True]
        if any(action.lower() in ("*", "s3:*") for action in deny.actions or ())
        for resource in deny.resources or ()
    }
    return "*" in covered or any(
        f"{arn}/*" in covered or arn.endswith("*") for arn in covered if _names_bucket(arn, bucket)
    )


def _names_bucket(arn: str, bucket: str) -> bool:
    name = arn.rpartition(":::")[2]
    return "/" not in name and (not bucket or matches(bucket, name))


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
