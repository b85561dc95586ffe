"""Answers what a bucket policy refuses to those who write and delete objects; pure."""

from policies.analysis.iam.grammar import Condition, Document, Statement

_CUSTOMER_KEY = "s3:x-amz-server-side-encryption-customer-algorithm"
_KEY_ID = "s3:x-amz-server-side-encryption-aws-kms-key-id"
# AWS services name the key of their own configuration in each request (CloudTrail does), so a deny may leave them out.
_SERVICES = "aws:principalisawsservice"


def denies_customer_keys(document: Document, bucket: str = "") -> bool:
    """True when everyone is denied to write objects with a key of their own (SSE-C), which nobody else can read.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    return any(_refuses_when(deny, _CUSTOMER_KEY, bucket) for deny in document.denies)


def denies_other_keys(document: Document, bucket: str = "") -> bool:
    """True when everyone is denied to write objects that name another KMS key than the one allowed, or any at all."""
    return any(_refuses_when(deny, _KEY_ID, bucket) for deny in document.denies)


def denies_deleting_versions(document: Document, bucket: str = "") -> bool:
    """True when everyone, or everyone but named principals, is denied to delete versions of objects."""
    return any(
        deny.covers_action("s3:DeleteObjectVersion")
        and _is_for_everyone(deny)
        and _covers_objects(deny, bucket)
        and all(
            one.key in ("aws:principalarn", "aws:multifactorauthpresent", "aws:multifactorauthage") for one in deny.conditions
        )
        for deny in document.denies
    )


def _refuses_when(deny: Statement, key: str, bucket: str) -> bool:
    if not (deny.covers_action("s3:PutObject") and _is_for_everyone(deny) and _covers_objects(deny, bucket)):
        return False
    about = [one for one in deny.conditions if one.key == key]
    others = [one for one in deny.conditions if one.key not in (key, _SERVICES)]
    return bool(about) and not others and all(_is_met_by_a_strange_key(one) for one in about)


def _is_met_by_a_strange_key(condition: Condition) -> bool:
    """`Null: false` is met by every request that names the key; a negation by every one that names another."""
    if condition.operator == "null":
        return condition.values == ("false",)
    return condition.operator in ("stringnotequals", "stringnotequalsignorecase", "stringnotlike", "arnnotequals", "arnnotlike")


def _is_for_everyone(deny: Statement) -> bool:
    return deny.not_principals is None and deny.is_for_everyone()


def _covers_objects(deny: Statement, bucket: str) -> bool:
    found = [arn.rpartition(":::")[2] for arn in deny.resources or ()]
    return any(name == "*" or (name.endswith("/*") and bucket in ("", name[:-2])) for name in found)
