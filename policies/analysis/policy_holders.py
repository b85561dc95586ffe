"""Finds the IAM documents in resources that hold them; judges none."""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.resources import Resource, Stack

_ATTACHMENTS = tokens.ROLE_POLICY_ATTACHMENT + tokens.POLICY_ATTACHMENT + tokens.GROUP_POLICY_ATTACHMENT


def identity_documents(resource: Resource) -> list[iam_document.Document]:
    """The identity policies in an IAM policy, an inline role or group policy, or a role with inlinePolicies.

    Raises UnknownValueError when one is not known yet, and DocumentError when one is not a policy.
    """
    if resource.type in tokens.ROLE:
        inline = [block.value("policy") for block in resource.props.blocks("inlinePolicies") if block.has("policy")]
        return [iam_document.parse(document) for document in inline]
    return [iam_document.parse(resource.props.value("policy"))]


def only_bounds(policy: Resource, stack: Stack) -> bool:
    """True for a managed policy that is the permissions boundary of a role and is attached to nobody: it grants nothing.

    Security Hub leaves these out too (KMS.1, parameter excludePermissionBoundaryPolicy).
    https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-1
    """
    if policy.type not in tokens.POLICY or not stack.users(policy, tokens.ROLE, "permissionsBoundary"):
        return False
    attached = any(stack.points(one, "policyArn", policy) for one in stack.of(_ATTACHMENTS))
    return not attached and not stack.users(policy, tokens.ROLE, "managedPolicyArns")
