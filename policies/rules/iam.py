"""Rules about identities: no administrators, no users, no strangers in trust policies, one way of giving a role its
rights.
"""

import re

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.policy_holders import identity_documents, only_bounds
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide"
_IDENTITY_POLICIES = tokens.POLICY + tokens.ROLE_POLICY + tokens.GROUP_POLICY + tokens.ROLE

# AWS-managed policies that do one narrow job for an AWS service, or read configuration without reading data.
_MANAGED_ALLOWED = frozenset(
    {
        "SecurityAudit",
        "job-function/ViewOnlyAccess",
        "service-role/AWSBackupServiceRolePolicyForBackup",
        "service-role/AWSBackupServiceRolePolicyForRestores",
        "AWSBackupServiceRolePolicyForS3Backup",
        "AWSBackupServiceRolePolicyForS3Restore",
        "service-role/AWS_ConfigRole",
        "service-role/AWSConfigRoleForOrganizations",
        "service-role/AmazonRDSEnhancedMonitoringRole",
        "service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        "AmazonECSInfrastructureRolePolicyForLoadBalancers",
        "AWSXRayDaemonWriteAccess",
    }
)
_MANAGED = re.compile(r"arn:aws[\w-]*:iam::aws:policy/(.+)")

# Actions for which AWS accepts no narrower resource than "*".
# https://docs.aws.amazon.com/service-authorization/latest/reference/
_UNSCOPABLE = re.compile(
    r"(ecr:GetAuthorizationToken|xray:(Put\w+|Get\w+)|ssmmessages:\w+|cloudwatch:(Put|Get)MetricData|events:ListRules|tag:GetResources|ec2:Describe\w+"
    r"|ec2:(Create|Delete)NetworkInterface\w*|sts:GetCallerIdentity|logs:DescribeLogGroups|secretsmanager:GetRandomPassword"
    r"|elasticloadbalancing:Describe\w+|kms:(ListAliases|ListKeys|GenerateRandom)|tag:Get\w+|s3:ListAllMyBuckets)"
)


@resource_rule(
    "GH-IAM-001",
    title="No policy allows everything",
    why="Whoever holds an administrator's role holds the account; no service of a product needs that.",
    remedy="list the actions that are used, and the ARNs that they are used on",
    severity=Severity.CRITICAL,
    types=_IDENTITY_POLICIES,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        security_hub=("IAM.1",),
        cis=("2.14",),
        checkov=("CKV_AWS_62", "CKV_AWS_63", "CKV2_AWS_40"),
        prowler=("iam_inline_policy_no_administrative_privileges",),
        cdk_nag=("IAM5",),
    ),
    url=f"{_GUIDE}/best-practices.html#grant-least-privilege",
)
def nothing_allows_everything(policy: Resource) -> Found:
    for document in identity_documents(policy):
        if iam_document.allows_everything(document):
            yield 'a statement allows every action (or all but a few) on "*"'


@stack_rule(
    "GH-IAM-002",
    title="Wildcards stand only where AWS knows nothing narrower",
    why='service:* includes deleting and giving access to others; "*" as a resource includes what comes later.',
    remedy="name the actions, and the ARNs in Resource",
    severity=Severity.MEDIUM,
    types=_IDENTITY_POLICIES,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("IAM.21",), prowler=("iam_policy_allows_privilege_escalation",), cdk_nag=("IAM5",)),
    url=f"{_GUIDE}/best-practices.html#grant-least-privilege",
)
def wildcards_are_rare(policy: Resource, stack: Stack) -> Found:
    if only_bounds(policy, stack):
        return
    for document in identity_documents(policy):
        for action in iam_document.service_wildcards(document):
            yield f"a statement allows {action}"
        for action in iam_document.actions_on_everything(document):
            if action not in iam_document.service_wildcards(document) and not _UNSCOPABLE.fullmatch(action):
                yield f'a statement allows {action} on "*" without a condition'


@stack_rule(
    "GH-IAM-003",
    title="AWS-managed policies are used only where they are narrow",
    why="AWS writes them for everybody, and changes them: most allow far more than one service needs.",
    remedy="write an aws.iam.RolePolicy with the actions and ARNs that are used, and remove the attachment",
    severity=Severity.HIGH,
    types=tokens.ROLE_POLICY_ATTACHMENT + tokens.POLICY_ATTACHMENT + tokens.GROUP_POLICY_ATTACHMENT + tokens.ROLE,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("IAM.1",),
        cis=("2.14",),
        checkov=("CKV_AWS_274", "CKV2_AWS_56"),
        prowler=("iam_role_administratoraccess_policy",),
        cdk_nag=("IAM4",),
    ),
    url=f"{_GUIDE}/access_policies_managed-vs-inline.html",
)
def managed_policies_are_narrow(holder: Resource, stack: Stack) -> Found:
    prop = "managedPolicyArns" if holder.type in tokens.ROLE else "policyArn"
    if stack.targets(holder, prop, tokens.POLICY) and prop == "policyArn":
        return  # A policy of this program is judged where it is written.
    arns = holder.props.texts(prop) if prop == "managedPolicyArns" else [holder.props.text(prop)]
    for arn in arns:
        managed = _MANAGED.fullmatch(arn)
        if managed and managed[1] not in _MANAGED_ALLOWED:
            yield f"{prop} names the AWS-managed policy {managed[1]}"


@resource_rule(
    "GH-IAM-004",
    title="Trust policies name who may assume the role, and for whom",
    why="A service that acts for every AWS customer could otherwise be made to use the role for another one.",
    remedy="name the principal, and add aws:SourceAccount or aws:SourceArn to the statement of a service",
    severity=Severity.HIGH,
    types=tokens.ROLE,
    levels=AFTER_DEV,
    upstream=Upstream(
        checkov=("CKV_AWS_60", "CKV_AWS_61"),
        prowler=(
            "iam_role_cross_service_confused_deputy_prevention",
            "iam_no_custom_policy_permissive_role_assumption",
        ),
    ),
    url=f"{_GUIDE}/confused-deputy.html",
)
def trust_is_narrow(role: Resource) -> Found:
    document = iam_document.parse(role.props.value("assumeRolePolicy"))
    if iam_document.allows_public(document):
        yield 'the trust policy allows anyone ("*") to assume the role'
    for service in iam_document.unguarded_services(document):
        if service not in _SERVICES_WITHOUT_SOURCE:
            yield f"the trust policy lets {service} assume the role without aws:SourceAccount or aws:SourceArn"


# These services send no source in their trust request, or only for some features: a condition would break them.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-required-policy-for-cloudwatch-logs.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
_SERVICES_WITHOUT_SOURCE = frozenset(
    {
        "apigateway.amazonaws.com",
        "cloudtrail.amazonaws.com",
        "ec2.amazonaws.com",
        "ecs.amazonaws.com",
        "edgelambda.amazonaws.com",
        "lambda.amazonaws.com",
    }
)


@resource_rule(
    "GH-IAM-005",
    title="GitHub's deployments are tied to one repository and environment",
    why="Without an exact subject, any repository on GitHub, or any branch of this one, can take the role.",
    remedy='use StringEquals: aud "sts.amazonaws.com" and sub "repo:ORG/REPO:environment:ENV"',
    severity=Severity.CRITICAL,
    types=tokens.ROLE,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(checkov=("CKV_AWS_393", "CKV_AWS_358")),
    url=f"{_GUIDE}/id_roles_providers_create_oidc_secure-by-default.html",
)
def github_is_tied_down(role: Resource) -> Found:
    yield from iam_document.github_trust_faults(iam_document.parse(role.props.value("assumeRolePolicy")))


@resource_rule(
    "GH-IAM-006",
    title="No IAM users, no access keys",
    why=(
        "A user's access key works from anywhere until somebody remembers to remove it; a role's credentials end by themselves."
    ),
    remedy="remove it; people sign in through IAM Identity Center, machines assume a role",
    severity=Severity.HIGH,
    types=tokens.USER_LIKE,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("IAM.2", "IAM.3"),
        cis=("2.13", "2.19"),
        checkov=("CKV_AWS_273", "CKV_AWS_40"),
        prowler=("iam_policy_attached_only_to_group_or_roles",),
    ),
    url=f"{_GUIDE}/best-practices.html#bp-users-federation-idp",
)
def nobody_is_a_user(user: Resource) -> Found:
    yield f"the program makes an IAM {user.type.rpartition(':')[2]}"


@stack_rule(
    "GH-IAM-008",
    title="A role gets its policies in one way",
    why=(
        "inlinePolicies and managedPolicyArns own the whole list: they remove what attachments add, at every second deployment."
    ),
    remedy="remove inlinePolicies and managedPolicyArns from the role, and use RolePolicy and RolePolicyAttachment",
    severity=Severity.MEDIUM,
    types=tokens.ROLE,
    levels=ALWAYS,
    url="https://www.pulumi.com/registry/packages/aws/api-docs/iam/role/",
)
def roles_get_policies_in_one_way(role: Resource, stack: Stack) -> Found:
    if role.props.has("inlinePolicies") and stack.users(role, tokens.ROLE_POLICY, "role"):
        yield "the role sets inlinePolicies and has RolePolicy resources as well"
    if role.props.has("managedPolicyArns") and stack.users(role, tokens.ROLE_POLICY_ATTACHMENT, "role"):
        yield Violation("the role sets managedPolicyArns and has RolePolicyAttachment resources as well", "")


@resource_rule(
    "GH-IAM-007",
    title="No role can make itself a stronger one",
    why="Who may write policies or pass roles can give himself any right, unless a boundary and a condition stop him.",
    remedy="set permissionsBoundary on the role; add StringEquals iam:PassedToService to the iam:PassRole statement",
    severity=Severity.MEDIUM,
    types=_IDENTITY_POLICIES,
    levels=levels("A", "A", "M"),
    upstream=Upstream(prowler=("iam_inline_policy_allows_privilege_escalation",)),
    url=f"{_GUIDE}/access_policies_boundaries.html",
)
def nobody_raises_himself(holder: Resource) -> Found:
    if holder.type in tokens.ROLE and not holder.props.has("permissionsBoundary"):
        yield "permissionsBoundary is not set"
    for document in identity_documents(holder):
        for allow in document.allows:
            passes = allow.covers_action("iam:PassRole")
            if passes and not any(one.key == "iam:passedtoservice" for one in allow.conditions):
                yield "a statement allows iam:PassRole without iam:PassedToService"
