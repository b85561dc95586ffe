"""Returns the IAM policy documents that resources contain."""

from collections.abc import Iterator, Mapping

from gatehouse_policies.analysis.iam.document import allowed_accounts, allows_public
from gatehouse_policies.analysis.iam.grammar import Document, parse
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws

# Property with the ARNs of the attached policies, keyed by resource type.
ATTACHED_POLICIES = {
    **dict.fromkeys(
        aws("iam.RolePolicyAttachment", "iam.PolicyAttachment", "iam.GroupPolicyAttachment"),
        "policyArn",
    ),
    **dict.fromkeys(aws("iam.Role"), "managedPolicyArns"),
    **dict.fromkeys(
        aws("iam.RolePolicyAttachmentsExclusive", "iam.GroupPolicyAttachmentsExclusive"),
        "policyArns",
    ),
}


def identity_documents(resource: Resource) -> list[Document]:
    """The identity policies of an IAM policy, an inline role or group policy, or a role with
    inlinePolicies.

    Raises UnknownPropertyError for an unknown document and DocumentError for a malformed one.
    """
    if resource.type in aws("iam.Role"):
        inline = [
            block.value("policy")
            for block in resource.props.blocks("inlinePolicies")
            if block.has("policy")
        ]
        return [parse(document) for document in inline]
    return [parse(resource.props.value("policy"))]


def own_documents(resource: Resource, prop: str = "policy") -> list[Document]:
    """The resource policy in a property of the resource, if the property is set."""
    return [parse(resource.props.value(prop))] if resource.props.has(prop) else []


def resource_documents(
    resource: Resource, stack: Stack, types: tuple[str, ...], prop: str
) -> list[Document]:
    """The resource policies of a resource: its `policy`, and the policies of resources whose `prop`
    refers to it.
    """
    holders = (resource, *stack.referencing(resource, types, prop))
    return [document for holder in holders for document in own_documents(holder)]


def is_evaluated_elsewhere(
    resource: Resource,
    stack: Stack,
    policy_types: tuple[str, ...],
    prop: str,
    types: tuple[str, ...],
) -> bool:
    """True for a resource policy of a resource of these types in the program, with which it is
    evaluated.
    """
    return resource.type in policy_types and bool(stack.referenced_by(resource, prop, types))


ACCOUNTS: Mapping[str, tuple[str, ...]] = {"accounts": ()}
"""Parameter of rules about foreign accounts: accounts of partners that policies may name. Empty by
default.
"""


def foreign_access(document: Document, holder: Resource, subject: str) -> Iterator[str]:
    """A message for each account that the document allows and that is neither in allowedAccountIds
    nor in the list `accounts`.

    subject: the document in the message, such as "the key policy".

    Raises UnknownPropertyError if the provider does not set allowedAccountIds.
    """
    yield from foreign_accounts(allowed_accounts(document), holder, subject)


def public_or_foreign_access(document: Document, holder: Resource, subject: str) -> Iterator[str]:
    """As `foreign_access`, and a message if the document allows everyone."""
    if allows_public(document):
        yield f'{subject} allows everyone ("*") without a restricting condition'
    yield from foreign_access(document, holder, subject)


def foreign_accounts(accounts: frozenset[str], holder: Resource, subject: str) -> Iterator[str]:
    """As `foreign_access`, for accounts that were read from elsewhere."""
    for account in sorted(accounts - holder.own_accounts()) if accounts else ():
        yield (
            f"{subject} allows account {account}, which is not in allowedAccountIds of the provider"
        )


def is_permissions_boundary(policy: Resource, stack: Stack) -> bool:
    """True for a managed policy that is a permissions boundary and is not attached to an identity,
    and therefore grants nothing.

    Security Hub also excludes these policies (KMS.1, parameter excludePermissionBoundaryPolicy).
    https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html#kms-1
    """
    if policy.type not in aws("iam.Policy") or not stack.referencing(
        policy, aws("iam.Role"), "permissionsBoundary"
    ):
        return False
    return not any(
        stack.referencing(policy, (holder,), prop) for holder, prop in ATTACHED_POLICIES.items()
    )
