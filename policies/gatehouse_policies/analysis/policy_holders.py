"""Returns the IAM policy documents that resources contain."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.iam.grammar import Document, DocumentError, parse
from gatehouse_policies.analysis.iam.strangers import NETWORK, Access, access, owner_of
from gatehouse_policies.analysis.properties import (
    Properties,
    UnknownPropertyError,
    are_reads_recorded,
    contents,
    is_policy,
    is_unknown,
)
from gatehouse_policies.analysis.resources import Resource, Stack, is_organization

# Property with the ARNs of the attached policies, keyed by resource type.
ATTACHED_POLICIES = {
    **dict.fromkeys(
        aws(
            *("iam.RolePolicyAttachment", "iam.PolicyAttachment", "iam.GroupPolicyAttachment"),
            "eks.AccessPolicyAssociation",
        ),
        "policyArn",
    ),
    **dict.fromkeys(
        aws("iam.Role", "ssoadmin.ManagedPolicyAttachmentsExclusive"), "managedPolicyArns"
    ),
    **dict.fromkeys(aws("ssoadmin.ManagedPolicyAttachment"), "managedPolicyArn"),
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
        inline = resource.props.blocks("inlinePolicies")
        return [parse(block.value("policy")) for block in inline if block.has("policy")]
    is_permission_set = resource.type in aws("ssoadmin.PermissionSetInlinePolicy")
    return [parse(resource.props.value("inlinePolicy" if is_permission_set else "policy"))]


def own_documents(resource: Resource, path: str = "policy") -> list[Document]:
    """The resource policy in a property of the resource, if the property is set, and that in the
    OpenAPI document of a REST API.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/openapi-extensions-policy.html
    """
    *parents, prop = path.split(".")
    holders = [(reduce(Properties.block, parents, resource.props), prop)]
    if resource.type in aws("apigateway.RestApi"):
        holders.append((resource.props.document("body"), "x-amazon-apigateway-policy"))
    return [parse(block.value(name)) for block, name in holders if block.has(name)]


def resource_documents(
    resource: Resource, stack: Stack, types: tuple[str, ...], prop: str
) -> list[Document]:
    """The resource policies of a resource: its `policy`, and the policies of resources whose `prop`
    refers to it.
    """
    holders = (resource, *stack.referencing(resource, types, prop))
    return [document for holder in holders for document in own_documents(holder)]


def effective_documents(
    resource: Resource, stack: Stack, types: tuple[str, ...], prop: str
) -> list[Document]:
    """As `resource_documents`, but the separate policies replace that of the resource. Of several,
    any can be the last that is written.
    """
    separate = stack.referencing(resource, types, prop)
    return [document for holder in separate or [resource] for document in own_documents(holder)]


def is_evaluated_elsewhere(
    resource: Resource,
    stack: Stack,
    policy_types: tuple[str, ...],
    prop: str,
    types: tuple[str, ...],
) -> bool:
    """True for a resource policy of a resource of these types that the program manages, with which
    it is evaluated.
    """
    return resource.type in policy_types and is_of_program(resource, stack, prop, types)


def is_of_program(resource: Resource, stack: Stack, prop: str, types: tuple[str, ...]) -> bool:
    """True if a property refers to a resource of these types that the program manages."""
    return any(owner.managed for owner in stack.referenced_by(resource, prop, types))


ACCOUNTS: Mapping[str, tuple[str, ...]] = {"accounts": ()}
"""Parameter of rules about foreign accounts: accounts of partners that policies may name. Empty by
default.
"""


def public_or_foreign_access(
    document: Document, holder: Resource, subject: str, free: str = ""
) -> Iterator[str]:
    """A message if the document allows everyone, and for each account, organization and user that
    it allows and that is neither in allowedAccountIds nor in the list `accounts`.

    subject: the document in the message, such as "the key policy". free: pattern of the condition
    keys that every request passes.

    Raises UnknownPropertyError if the provider does not set allowedAccountIds.
    """
    allowed = access(document, free)
    if allowed.everyone:
        yield f'{subject} allows everyone ("*") without a restricting condition'
    if allowed.named():
        yield from foreign(allowed, holder, subject)


def foreign(allowed: Access, holder: Resource, subject: str) -> Iterator[str]:
    """A message for each account, organization and user that is not known. Networks are those of
    GH-IAM-011, which knows the networks of the program.

    Raises UnknownPropertyError at the end if the program declares no accounts or organization.
    """
    organizations = filter(is_organization, allowed.named())
    yield from _foreign(allowed.others(holder.own_accounts(*organizations)), subject)
    others = filter(is_organization, allowed.others(holder.own_accounts()))
    yield from _foreign(others, subject)


def _foreign(parties: Iterable[str], subject: str) -> Iterator[str]:
    for party in parties:
        if party.startswith(NETWORK):
            continue
        if re.search("[*?]", party):
            yield f"{subject} allows {party}, which others can match"
        elif _ORGANIZATION.match(party):
            yield f"{subject} allows the organization {party}, which is not in the list `accounts`"
        else:
            yield (
                f"{subject} allows account {party}, which is not in allowedAccountIds of the "
                f"provider"
            )


def foreign_networks(document: Document, holder: Resource, stack: Stack) -> Iterator[str]:
    """A message for each VPC and VPC endpoint that a document requires, and that is neither of the
    program nor in the list `accounts`.
    """
    networks = [name for name in access(document).named() if name.startswith(NETWORK)]
    own = [
        name
        for name in networks
        if (id := name.removeprefix(NETWORK)) in stack.identifiers or id in holder.lists["accounts"]
    ]
    if len(own) < len(networks):
        for party in access(document).others(holder.own_accounts(*own)):
            if party.startswith(NETWORK):
                yield (
                    f"a policy allows {party.removeprefix(NETWORK)}, which is not of the program "
                    f"and not in the list `accounts`"
                )


CIDR = re.compile(r"[0-9a-f.:]+/\d{1,3}", re.IGNORECASE)
_ORGANIZATION = re.compile(r"o-[a-z0-9]+")
# The registry of an image or a security group of another account, and the URL of a queue.
_HOST = re.compile(
    r"(?:^|//)(\d{12})(?:\.\S+\.amazonaws\.|/sg-)|\.amazonaws\.com(?:\.cn)?/(\d{12})(?=/|$)"
)


def parties_of(text: str) -> tuple[str, ...]:
    """The accounts and organizations that the value of an input names: as an ID, in an ARN, or in
    the address of a registry or queue, or before the ID of a security group.
    """
    if _ORGANIZATION.fullmatch(text) or (owner := owner_of(text)):
        return (text,) if _ORGANIZATION.fullmatch(text) else (owner,)
    return tuple(first or second for first, second in _HOST.findall(text))


def values_of(resource: Resource) -> Iterator[tuple[str, str]]:
    """The path and value of each known text in the inputs of a resource, except those of policy
    documents, and those whose names the program chooses: environments and tags.
    """
    for path, value, is_document in contents_of(resource.props):
        is_text = isinstance(value, str) and not is_unknown(value) and not is_document
        if is_text and not _CHOSEN.search(path):
            yield path, value


def documents_of(resource: Resource) -> Iterator[Document]:
    """The policy documents in the inputs of a resource of any type.

    Raises UnknownPropertyError if another document is unknown, and DocumentError for a malformed
    one.
    """
    unknown = []
    for path, value, is_document in contents_of(resource.props):
        if is_document:
            yield parse(value)
        elif isinstance(value, str) and is_document_input(resource.type, path):
            if is_unknown(value):
                unknown.append(path)
            elif value.startswith("{"):
                yield parse(value)
    if unknown:
        raise UnknownPropertyError(unknown[0])


IDENTITY_POLICIES = aws("iam.Policy", "iam.RolePolicy", "iam.GroupPolicy", "iam.Role")
# Types with policies that grant nothing, or that people use.
_OTHER_SCOPES = re.compile(r"aws:(organizations|ssoadmin|ec2/vpcEndpoint)")


def documents_without_principals(holder: Resource) -> Iterator[Document]:
    """The documents of a resource that name no principal, such as those of sessions and devices."""
    if holder.type in IDENTITY_POLICIES:
        yield from identity_documents(holder)
    elif holder.type.startswith("aws:") and not _OTHER_SCOPES.match(holder.type):
        with suppress(UnknownPropertyError, DocumentError):
            for document in documents_of(holder):
                if all(
                    each.principals is each.not_principals is None for each in document.statements
                ):
                    yield document


def is_document_input(type_: str, path: str) -> bool:
    """True if an input has a policy document of IAM, by its name in the schema of pulumi-aws."""
    return _POLICY.fullmatch(path) is not None and not _OTHER_POLICIES.match(type_)


def contents_of(properties: Properties) -> tuple[tuple[str, Any, bool], ...]:
    """The path and value of each text, number and document in the inputs of a resource, and whether
    it is a policy document. Computed once for all rules. Documents and networks are recorded as
    read. The message of a violation names other values.
    """
    found = cached_contents(properties)
    for path, value, is_document in found if are_reads_recorded() else ():
        if is_document or (isinstance(value, str) and CIDR.fullmatch(value)):
            properties.record(path, value)
    return found


@lru_cache(maxsize=1024)
def cached_contents(properties: Properties) -> tuple[tuple[str, Any, bool], ...]:
    """As `contents_of`, without a record."""
    return tuple(
        (path, value, is_policy(value))
        for name in properties.names()
        for path, value in contents(properties.plain()[name], name)
    )


_CHOSEN = re.compile(r"(^|\.)(environment\w*|variables|tags(All)?)[.\[]", re.IGNORECASE)
# Names of inputs with policy documents, and types whose inputs of these names are other documents.
# tests/policies/test_schema.py compares them with the schema.
_POLICY = re.compile(
    r"(.*\.)?(body|details|(\w+P|p)olicyDocument|policy|accessPolicies"
    r"|(access|deliveryDestination|inline|repository|resource|session)Policy)"
)
_OTHER_POLICIES = re.compile(
    "aws:(apigatewayv2/|cloudwatch/log(Account|DataProtection|Index)|ecr/lifecycle|eks/|networkmanager/"
    "|opensearch/serverless|resiliencehub/|ses/receipt|sns/data|verifiedaccess/).*"
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
