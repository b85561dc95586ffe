"""Rules for IAM: users, roles, trust policies and identity policies."""

import re

from gatehouse_policies.analysis.iam import document as iam_document
from gatehouse_policies.analysis.iam.actions import is_narrowing
from gatehouse_policies.analysis.iam.grammar import parse
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    ATTACHED_POLICIES,
    PRINCIPALS,
    RESOURCE_POLICIES,
    foreign_access,
    identity_documents,
    is_of_program,
    is_permissions_boundary,
    own_documents,
    public_or_foreign_access,
    shared_principals,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule
from gatehouse_policies.lists import name_set

_GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide"
_IDENTITY_POLICIES = aws("iam.Policy", "iam.RolePolicy", "iam.GroupPolicy", "iam.Role")

# AWS managed policies that serve one function of an AWS service, or that grant read access to
# configuration but not to data.
_MANAGED_ALLOWED = name_set(
    "SecurityAudit job-function/ViewOnlyAccess AWSXRayDaemonWriteAccess "
    "service-role/AWSBackupServiceRolePolicyForBackup "
    "service-role/AWSBackupServiceRolePolicyForRestores AWSBackupServiceRolePolicyForS3Backup "
    "AWSBackupServiceRolePolicyForS3Restore service-role/AWS_ConfigRole "
    "service-role/AWSConfigRoleForOrganizations service-role/AmazonRDSEnhancedMonitoringRole "
    "service-role/AmazonAPIGatewayPushToCloudWatchLogs "
    "AmazonECSInfrastructureRolePolicyForLoadBalancers service-role/AWSLambdaBasicExecutionRole "
    "service-role/AWSLambdaVPCAccessExecutionRole "
    # Amazon EKS requires these policies on the roles of clusters, nodes, Pods and add-ons.
    # https://docs.aws.amazon.com/eks/latest/userguide/security-iam-awsmanpol.html
    "AmazonEKSClusterPolicy AmazonEKSComputePolicy AmazonEKSBlockStoragePolicy "
    "AmazonEKSLoadBalancingPolicy AmazonEKSNetworkingPolicy AmazonEKSVPCResourceController "
    "AmazonEKSWorkerNodePolicy AmazonEKSWorkerNodeMinimalPolicy AmazonEKS_CNI_Policy "
    "AmazonEKSFargatePodExecutionRolePolicy AmazonEC2ContainerRegistryReadOnly "
    "AmazonEC2ContainerRegistryPullOnly service-role/AmazonEBSCSIDriverPolicy "
    "service-role/AmazonEFSCSIDriverPolicy"
)
# Permission sets give people access, for which AWS has managed policies of other scopes.
# https://docs.aws.amazon.com/singlesignon/latest/userguide/permissionsetpredefined.html
_ADMINISTRATION = ("AdministratorAccess", "IAMFullAccess")
_MANAGED = re.compile(r"arn:aws[\w-]*:iam::aws:policy/(.+)")

# Actions that Lambda requires on "*" for functions in a VPC.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
_LAMBDA_IN_VPC = re.compile(
    r"ec2:((Create|Delete)NetworkInterface|(Unassign|Assign)PrivateIpAddresses)", re.IGNORECASE
)


@resource_rule(
    "GH-IAM-001",
    title="IAM policies do not allow full administrative privileges",
    remedy="list the required actions and the ARNs of their resources",
    severity="critical",
    types=(*_IDENTITY_POLICIES, *aws("ssoadmin.PermissionSetInlinePolicy")),
    exemptible=False,
    upstream="IAM.1 2.14 CKV_AWS_62 CKV_AWS_63 CKV2_AWS_40 IAM5",
    url=f"{_GUIDE}/best-practices.html#grant-least-privilege",
)
def no_policy_allows_full_admin(policy: Resource) -> CheckResults:
    for document in identity_documents(policy):
        if iam_document.allows_everything(document):
            yield 'a statement allows every action (or all but a few) on "*"'
        elif iam_document.allows_iam_administration(document):
            yield (
                "a statement allows the administration of IAM, which includes granting any "
                "permission"
            )


@stack_rule(
    "GH-IAM-002",
    title="IAM policies use wildcards only where AWS requires them",
    remedy="list the required actions and the ARNs of their resources",
    types=_IDENTITY_POLICIES,
    upstream="IAM.21 IAM5",
    url=f"{_GUIDE}/best-practices.html#grant-least-privilege",
)
def wildcards_are_limited(policy: Resource, stack: Stack) -> CheckResults:
    if is_permissions_boundary(policy, stack):
        return
    for document in identity_documents(policy):
        wildcards = iam_document.service_wildcards(document)
        for action in wildcards:
            yield f"a statement allows {action}"
        for action in iam_document.actions_on_all_resources(document):
            if (
                action not in wildcards
                and not _LAMBDA_IN_VPC.fullmatch(action)
                and action.lower() not in _EVALUATED_ELSEWHERE
            ):
                yield f"a statement allows {action} on all resources without a condition"


#: Actions that GH-KMS-007 or GH-IAM-007 evaluates.
_EVALUATED_ELSEWHERE = frozenset(
    action.lower()
    for action in (*iam_document.DECRYPTION, *iam_document.PRIVILEGE_ESCALATION, "iam:PassRole")
)


@stack_rule(
    "GH-IAM-003",
    title="Roles and permission sets use AWS managed policies of limited scope only",
    remedy="replace the attachment with an aws.iam.RolePolicy with the required actions and ARNs",
    severity="high",
    types=tuple(ATTACHED_POLICIES),
    upstream="2.14 CKV_AWS_274 CKV2_AWS_56 IAM4",
    url=f"{_GUIDE}/access_policies_managed-vs-inline.html",
)
def aws_managed_policies_are_limited(holder: Resource, stack: Stack) -> CheckResults:
    prop = ATTACHED_POLICIES[holder.type]
    own = is_of_program(holder, stack, "policyArn", aws("iam.Policy"))
    if own and not holder.props.known("policyArn"):
        return  # Policies in the program are evaluated separately.
    arns = holder.props.texts(prop) if prop.endswith("s") else [holder.props.text(prop)]
    is_person = holder.type.startswith("aws:ssoadmin/")
    for arn in arns:
        managed = _MANAGED.fullmatch(arn)
        if not managed or managed[1] in _MANAGED_ALLOWED:
            continue
        if not is_person or managed[1] in _ADMINISTRATION:
            yield f"{prop} contains the AWS managed policy {managed[1]}"


@stack_rule(
    "GH-IAM-004",
    title="Trust policies restrict principals and prevent the confused deputy problem",
    remedy=(
        "name the principal, require the audience of the identity provider, and add "
        "aws:SourceAccount or aws:SourceArn (or sts:ExternalId for Amazon Cognito) to statements "
        "for AWS services whose documented trust policies have these keys"
    ),
    severity="high",
    types=aws("iam.Role"),
    levels="AMM",
    lists=ACCOUNTS,
    upstream="CKV_AWS_60 CKV_AWS_61",
    url=f"{_GUIDE}/confused-deputy.html",
)
def trust_policy_is_restricted(role: Resource, stack: Stack) -> CheckResults:
    document = parse(role.props.value("assumeRolePolicy"))
    for service in iam_document.unrestricted_services(document):
        if service not in _SERVICES_WITHOUT_SOURCE:
            yield f"the trust policy allows {service} without aws:SourceAccount or aws:SourceArn"
    yield from iam_document.federation_defects(document)
    yield from public_or_foreign_access(document, role, "the trust policy")


# Services whose documented trust policies have no source condition in any feature. A source
# condition can deny their requests.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-required-policy-for-cloudwatch-logs.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AmazonECSInfrastructureRolePolicyForLoadBalancers.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
_SERVICES_WITHOUT_DOCUMENTED_SOURCE = frozenset(
    f"{service}.amazonaws.com"
    for service in ("apigateway", "cloudtrail", "ec2", "ecs", "edgelambda", "s3")
)
# Services whose documented trust policies differ: some have a source condition, others have none.
_SERVICES_WITHOUT_SOURCE = _SERVICES_WITHOUT_DOCUMENTED_SOURCE | {
    f"{service}.amazonaws.com" for service in ("backup", "chatbot", "lambda", "pods.eks", "rds")
}


@resource_rule(
    "GH-IAM-009",
    title="Trust policies require a source only from services that document it",
    remedy=(
        "remove aws:SourceAccount and aws:SourceArn from the statement, and restrict who "
        "can pass the role with iam:PassRole"
    ),
    severity="high",
    types=aws("iam.Role"),
    levels="AMM",
    url=f"{_GUIDE}/confused-deputy.html",
)
def trust_policy_requires_documented_source(role: Resource) -> CheckResults:
    for allow in parse(role.props.value("assumeRolePolicy")).allows:
        keys = [
            condition.key
            for condition in allow.conditions
            if condition.key in ("aws:sourceaccount", "aws:sourcearn")
        ]
        for kind, service in allow.principals or ():
            if keys and kind == "Service" and service in _SERVICES_WITHOUT_DOCUMENTED_SOURCE:
                yield (
                    f"the trust policy requires a source from {service}, whose documented "
                    f"trust policies have no such condition"
                )


@resource_rule(
    "GH-IAM-005",
    title="Trust policies for GitHub OIDC require one repository and environment or ref",
    remedy=(
        'use StringEquals with aud "sts.amazonaws.com" and sub '
        '"repo:ORG/REPO:environment:ENV" of your own repository'
    ),
    # Repositories (owner/name) that roles may trust. Empty: every repository except those of
    # examples.
    lists={"repositories": ()},
    severity="critical",
    types=aws("iam.Role"),
    exemptible=False,
    upstream="CKV_AWS_393 CKV_AWS_358",
    url=f"{_GUIDE}/id_roles_providers_create_oidc_secure-by-default.html",
)
def github_trust_is_restricted(role: Resource) -> CheckResults:
    document = parse(role.props.value("assumeRolePolicy"))
    yield from iam_document.github_trust_defects(document)
    for repository in iam_document.github_repositories(document):
        if repository.partition("/")[0].lower() in _EXAMPLE_OWNERS:
            yield (
                f"the trust policy allows {repository}, the repository of an example, which "
                f"belongs to somebody else"
            )
        elif role.lists["repositories"] and repository not in role.lists["repositories"]:
            yield (
                f"the trust policy allows {repository}, which is not in the list "
                f"repositories of the rule"
            )


# Owners in examples of documentation. The accounts exist on GitHub.
_EXAMPLE_OWNERS = name_set("example octo-org octocat my-org myorg your-org org owner orgname")


_WITH_USERS = aws("iam.GroupMembership", "iam.PolicyAttachment")


@resource_rule(
    "GH-IAM-006",
    title="The program does not create IAM users or their credentials",
    remedy="remove the resource; use IAM Identity Center for people and roles for workloads",
    severity="high",
    # All types with a property that names users.
    types=aws(
        *("iam.User", "iam.AccessKey", "iam.ServiceSpecificCredential", "iam.SigningCertificate"),
        *("iam.SshKey", "iam.UserGroupMembership", "iam.UserLoginProfile", "iam.UserPolicy"),
        *("iam.UserPolicyAttachment", "iam.UserPolicyAttachmentsExclusive"),
        "iam.UserPoliciesExclusive",
    )
    + _WITH_USERS,
    upstream="IAM.2 2.13 2.19 CKV_AWS_273 CKV_AWS_40",
    url=f"{_GUIDE}/best-practices.html#bp-users-federation-idp",
)
def no_iam_users(user: Resource) -> CheckResults:
    if user.type not in _WITH_USERS or user.props.size("users"):
        yield f"the program creates an IAM {user.type.rpartition(':')[2]}"


@stack_rule(
    "GH-IAM-008",
    title="Roles do not mix inline policy lists with policy resources",
    remedy=(
        "remove inlinePolicies and managedPolicyArns from the role, and use RolePolicy and "
        "RolePolicyAttachment"
    ),
    types=aws("iam.Role"),
    levels="MMM",
    url="https://www.pulumi.com/registry/packages/aws/api-docs/iam/role/",
)
def role_policies_have_one_owner(role: Resource, stack: Stack) -> CheckResults:
    if role.props.has("inlinePolicies") and stack.referencing(role, aws("iam.RolePolicy"), "role"):
        yield "the role sets inlinePolicies and also has RolePolicy resources"
    if role.props.has("managedPolicyArns") and stack.referencing(
        role, aws("iam.RolePolicyAttachment"), "role"
    ):
        yield "the role sets managedPolicyArns and also has RolePolicyAttachment resources"


@stack_rule(
    "GH-IAM-007",
    title="Roles have a permissions boundary and no unrestricted privilege escalation actions",
    remedy=(
        "set permissionsBoundary on the role; add StringEquals iam:PassedToService to the "
        "iam:PassRole statement; name the ARNs "
        "of the resources of the other actions, or add a condition such as iam:PermissionsBoundary"
    ),
    types=_IDENTITY_POLICIES,
    levels="AAM",
    url=f"{_GUIDE}/access_policies_boundaries.html",
)
def privilege_escalation_is_limited(holder: Resource, stack: Stack) -> CheckResults:
    if is_permissions_boundary(holder, stack):
        return
    if holder.type in aws("iam.Role") and not holder.props.has("permissionsBoundary"):
        yield Violation("permissionsBoundary is not set", severity="low")
    for document in identity_documents(holder):
        for allow in document.allows:
            limited = any(
                condition.key == "iam:passedtoservice" and is_narrowing(condition)
                for condition in allow.conditions
            )
            if allow.covers_action("iam:PassRole") and not limited:
                yield "a statement allows iam:PassRole without iam:PassedToService"
        for action in iam_document.escalating_actions(document):
            yield f"a statement allows {action} on all resources without a condition"


_SERVICE_POLICIES = RESOURCE_POLICIES | dict.fromkeys(
    aws(
        *("sns.TopicPolicy", "sns.Topic", "sqs.QueuePolicy", "sqs.Queue"),
        *("s3.BucketPolicy", "s3.Bucket"),
    ),
    "policy",
)
# Services that GH-CT-006 evaluates, or whose documented resource policies have no source condition.
# https://docs.aws.amazon.com/glue/latest/dg/cross-account-access.html
_SERVICES_WITHOUT_POLICY_SOURCE = ("cloudtrail.amazonaws.com", "ram.amazonaws.com")


@resource_rule(
    "GH-IAM-010",
    title="Resource policies restrict AWS services by source",
    remedy="add a condition on aws:SourceAccount or aws:SourceArn to the statement of the service",
    types=tuple(_SERVICE_POLICIES),
    url=f"{_GUIDE}/confused-deputy.html",
)
def service_access_has_source(holder: Resource) -> CheckResults:
    for document in own_documents(holder, _SERVICE_POLICIES[holder.type]):
        for service in iam_document.unrestricted_services(document):
            if service not in _SERVICES_WITHOUT_POLICY_SOURCE:
                yield (
                    f"the policy allows {service} without a condition on aws:SourceAccount or "
                    f"aws:SourceArn"
                )


@stack_rule(
    "GH-IAM-011",
    title="Resource policies and shares do not allow public or unknown cross-account access",
    remedy=(
        "name the principals, add a condition on their account or organization, or add the "
        "account to the list `accounts` of the rule"
    ),
    severity="high",
    types=(*RESOURCE_POLICIES, *PRINCIPALS, *aws("ram.ResourceShare")),
    lists=ACCOUNTS,
    upstream="2.21",
    url=f"{_GUIDE}/access_policies_identity-vs-resource.html",
)
def resource_is_not_shared(holder: Resource, stack: Stack) -> CheckResults:
    if holder.type in PRINCIPALS:
        yield from shared_principals(holder)
    elif holder.type in RESOURCE_POLICIES:
        for document in own_documents(holder, RESOURCE_POLICIES[holder.type]):
            if holder.type in _APIS:
                document = iam_document.without_denied(document, "execute-api:Invoke")
            limited = _is_limited_to_vpc(holder, stack) or _is_limited_api(holder, stack)
            access = foreign_access if limited else public_or_foreign_access
            yield from access(document, holder, "the resource policy")
    # Partners in the list `accounts` can be outside the organization.
    elif holder.props.flag("allowExternalPrincipals") and not holder.lists["accounts"]:
        yield "allowExternalPrincipals is true, so the share can leave the organization"


def _is_limited_to_vpc(holder: Resource, stack: Stack) -> bool:
    """True for the policy of an S3 access point that accepts requests from one VPC only.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-vpc.html
    """
    points = (holder, *stack.referenced_by(holder, "accessPointArn", aws("s3.AccessPoint")))
    return any(point.props.has("vpcConfiguration") for point in points)


_APIS = aws("apigateway.RestApi", "apigateway.RestApiPolicy", "apigateway.DomainName")


def _is_limited_api(holder: Resource, stack: Stack) -> bool:
    """True for the policy of a REST API whose methods require no identity of AWS: other authorizers
    do not read the account of the caller.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html
    """
    if holder.type not in _APIS:
        return False
    apis = (holder, *stack.referenced_by(holder, "restApiId", aws("apigateway.RestApi")))
    methods = [
        method.props.text("authorization")
        for api in apis
        for method in stack.referencing(api, aws("apigateway.Method"), "restApi")
    ]
    bodies = [api.props.text("body") for api in apis if api.props.has("body")]
    return bool(methods or bodies) and not any(
        _IAM_AUTHORIZATION.search(text) for text in (*methods, *bodies)
    )


_IAM_AUTHORIZATION = re.compile(r"AWS_IAM|awsSigv4", re.IGNORECASE)
