"""Returns the IAM policy documents that resources contain."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce

from gatehouse_policies.analysis.iam.document import account_of, allowed_accounts, allows_public
from gatehouse_policies.analysis.iam.grammar import Document, parse
from gatehouse_policies.analysis.properties import Properties, texts_of
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws, by_token
from gatehouse_policies.lists import name_set

# Property with the ARNs of the attached policies, keyed by resource type.
ATTACHED_POLICIES = {
    **dict.fromkeys(
        aws("iam.RolePolicyAttachment", "iam.PolicyAttachment", "iam.GroupPolicyAttachment"),
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


RESOURCE_POLICIES = by_token(
    {
        **dict.fromkeys(
            name_set(
                "acmpca.Policy apigateway.DomainName apigateway.RestApi apigateway.RestApiPolicy "
                "backup.VaultPolicy bedrock.AgentcoreResourcePolicy cloudwatch.EventBusPolicy "
                "codebuild.ResourcePolicy dsql.ClusterPolicy dynamodb.ResourcePolicy "
                "ecrpublic.RepositoryPolicy efs.FileSystemPolicy glacier.VaultLock "
                "glue.ResourcePolicy kinesis.ResourcePolicy lambda.ResourcePolicy "
                "mediastore.ContainerPolicy msk.ClusterPolicy networkfirewall.ResourcePolicy "
                "oam.SinkPolicy opensearchingest.ResourcePolicy pinpoint.Smsvoicev2ResourcePolicy "
                "redshift.ResourcePolicy redshiftserverless.ResourcePolicy s3.AccessPoint "
                "s3.FilesFileSystemPolicy s3.VectorsVectorBucketPolicy "
                "s3control.AccessGrantsInstanceResourcePolicy s3control.AccessPointPolicy "
                "s3control.BucketPolicy s3control.ObjectLambdaAccessPointPolicy "
                "schemas.RegistryPolicy ses.IdentityPolicy sesv2.EmailIdentityPolicy "
                "vpclattice.AuthPolicy vpclattice.ResourcePolicy"
            ),
            "policy",
        ),
        "amp.ResourcePolicy": "policyDocument",
        "cloudsearch.DomainServiceAccessPolicy": "accessPolicy",
        "cloudwatch.LogDeliveryDestinationPolicy": "deliveryDestinationPolicy",
        "cloudwatch.LogDestinationPolicy": "accessPolicy",
        "codeartifact.DomainPermissions": "policyDocument",
        "codeartifact.RepositoryPermissionsPolicy": "policyDocument",
        "glacier.Vault": "accessPolicy",
        "s3control.MultiRegionAccessPointPolicy": "details.policy",
        "s3tables.TableBucketPolicy": "resourcePolicy",
        "s3tables.TablePolicy": "resourcePolicy",
        "sagemaker.ModelPackageGroupPolicy": "resourcePolicy",
        "xray.ResourcePolicy": "policyDocument",
    }
)
"""Path of the resource policy, keyed by resource type, for types without a rule of their own."""

PRINCIPALS = by_token(
    {
        "cfg.AggregateAuthorization": "accountId",
        "cloudwatch.EventPermission": "principal",
        "directoryservice.SharedDirectory": "target",
        "ec2.NetworkInterfacePermission": "awsAccountId",
        "ec2.VpcEndpointService": "allowedPrincipals",
        "ec2.VpcEndpointServiceAllowedPrinciple": "principalArn",
        "eks.AccessEntry": "principalArn",
        "globalaccelerator.CrossAccountAttachment": "principals",
        "lakeformation.Permissions": "principal",
        "lambda.LayerVersionPermission": "principal",
        "opensearch.AuthorizeVpcEndpointAccess": "account",
        "opensearch.ServerlessAccessPolicy": "policy",
        "ram.PrincipalAssociation": "principal",
        "ram.ResourceShareAssociationsExclusive": "principals",
        "redshift.DataShareAuthorization": "consumerIdentifier",
        "redshift.EndpointAuthorization": "account",
        "s3control.AccessGrant": "grantee",
        "securitylake.Subscriber": "subscriberIdentity",
        "servicecatalog.PortfolioShare": "principalId",
        "signer.SigningProfilePermission": "principal",
    }
)
"""Property with the principals to which a resource is shared, keyed by resource type."""


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


def foreign_accounts(accounts: Iterable[str], holder: Resource, subject: str) -> Iterator[str]:
    """As `foreign_access`, for accounts that were read from elsewhere, or ""."""
    named = set(accounts) - {""}
    for account in sorted(named - holder.own_accounts()) if named else ():
        yield (
            f"{subject} allows account {account}, which is not in allowedAccountIds of the provider"
        )


def shared_principals(holder: Resource) -> Iterator[str]:
    """A message for a principal of `PRINCIPALS` that is everyone, or an account that
    `foreign_access` reports. An organization is not reported, and an unknown principal is a
    resource of the program.
    """
    prop = PRINCIPALS[holder.type]
    is_document = holder.type in aws("opensearch.ServerlessAccessPolicy")
    block = holder.props.decoded(prop) if is_document else holder.props
    principals = [
        text for path, text in texts_of(block, prop) if not is_document or ".Principal[" in path
    ]
    limited = holder.props.has("organizationId") or holder.props.has("condition")
    if "*" in principals and not limited:
        yield f"{prop} allows everyone"
    accounts = (account_of(text) for text in principals if ":organizations:" not in text)
    yield from foreign_accounts(accounts, holder, prop)


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
