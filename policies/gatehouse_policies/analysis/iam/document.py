"""Analyzes what policy documents allow and deny: administrative permissions and wildcards."""

from pulumi_local.lists import name_set

from gatehouse_policies.analysis.iam.actions import (
    covers_every_action,
    is_narrowed,
    is_service_wildcard,
    reaches_all_resources,
    reaches_everything,
    unlimited_actions,
)
from gatehouse_policies.analysis.iam.grammar import Document

DECRYPTION = ("kms:Decrypt", "kms:ReEncryptFrom")
_IAM_ADMINISTRATION = name_set(
    "iam:AttachRolePolicy iam:CreatePolicyVersion iam:CreateRole iam:PutRolePolicy"
)


def allows_everything(document: Document) -> bool:
    """True if a statement allows all actions, or all but some (NotAction), on all resources, or on
    all but some.
    """
    return any(
        covers_every_action(allow) and reaches_everything(allow) for allow in document.allows
    )


def allows_iam_administration(document: Document) -> bool:
    """True if the statements together allow the administration of IAM on all resources without a
    condition, such as `iam:*` on "*".
    """
    # A Region narrows neither who nor what.
    regions = ("aws:requestedregion", "ec2:region")
    allows = [allow for allow in document.allows if not is_narrowed(allow, *regions)]
    return unlimited_actions(allows, _IAM_ADMINISTRATION) == _IAM_ADMINISTRATION


def allows_administration(document: Document) -> bool:
    return allows_everything(document) or allows_iam_administration(document)


def service_wildcards(document: Document) -> tuple[str, ...]:
    """The allowed actions that match all actions of a service, such as `service:*`, sorted, and
    the complement of NotAction.
    """
    actions = {action for allow in document.allows for action in allow.actions or ()}
    complement = any(allow.not_actions is not None for allow in document.allows)
    return (
        *sorted(filter(is_service_wildcard, actions)),
        *(["all actions except those in NotAction"] if complement else []),
    )


def actions_on_all_resources(document: Document) -> tuple[str, ...]:
    """The actions that are allowed on all resources of a type without a condition, sorted.

    Actions that do not support resource-level permissions are excluded.
    """
    allowed = {
        action
        for allow in document.allows
        if not is_narrowed(allow)
        for action in allow.actions or ()
        if reaches_all_resources(allow, action)
    }
    return tuple(sorted(allowed))


def allows_decryption_with_all_keys(document: Document) -> bool:
    """True if decryption is allowed with all KMS keys of an account. Conditions are not considered.

    Equivalent to Security Hub KMS.1:
    https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html
    """
    return bool(unlimited_actions(document.allows, DECRYPTION))
