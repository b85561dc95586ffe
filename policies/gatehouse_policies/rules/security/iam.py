"""Rules for IAM: users, roles, trust policies and identity policies."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import KEYS, aws

from gatehouse_policies.analysis.iam import document as iam_document
from gatehouse_policies.analysis.iam import federation
from gatehouse_policies.analysis.iam.actions import is_narrowing, reaches_a_role
from gatehouse_policies.analysis.iam.effects import (
    CREDENTIALS,
    PERMISSIONS,
    SELF,
    Grant,
    allows_action,
    grants_of,
)
from gatehouse_policies.analysis.iam.grammar import Document, matches, parse
from gatehouse_policies.analysis.iam.strangers import access
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    ATTACHED_POLICIES,
    IDENTITY_POLICIES,
    documents_of,
    documents_without_principals,
    foreign_networks,
    identity_documents,
    is_of_program,
    is_permissions_boundary,
    public_or_foreign_access,
    values_of,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import is_set
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule

# AWS managed policies that allow all actions of a service, or reading the data of all resources.
# Most have a name that says so; the second part are the others, as of March 2026.
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
_WIDE_POLICIES = re.compile(
    r"(.*/)?(.*(FullAccess|Fullaccess|Admin|PowerUser|ReadOnlyAccess|ReadWrite).*"
    r"|A(WS|ws|mazon)(CodeStarService|DataPipeline|GlueService|OpsWorks|SSMAutomation)Role"
    r"|AWS(AgentlessDiscoveryService|ElasticBeanstalk(Service|ManagedUpdates.*)|LambdaExecute)"
    r"|AmazonE(C2RoleforDataPipeline|lasticMapReduceforEC2)Role|Aw?sGlueSession.*"
    r"|AWS(DeepRacer.*AccessPolicy|Greengrass.*|ResourceExplorerOrganizationsAccess)"
    r"|DataScientist|SageMakerStudio.*(Execution|Learning)Policy|ServerMigrationConnector)"
)
# Permission sets give people access, for which AWS has managed policies of other scopes.
# https://docs.aws.amazon.com/singlesignon/latest/userguide/permissionsetpredefined.html
_ADMINISTRATION = ("AdministratorAccess", "IAMFullAccess")
_MANAGED = re.compile(r"arn:aws[\w-]*:(?:iam::aws:policy|eks::aws:cluster-access-policy)/(.+)")

# Actions that Lambda requires on "*" for functions in a VPC.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
_LAMBDA_IN_VPC = re.compile(
    r"ec2:((Create|Delete)NetworkInterface|(Unassign|Assign)PrivateIpAddresses)", re.IGNORECASE
)


@resource_rule(
    "GH-IAM-001",
    types=(*IDENTITY_POLICIES, *aws("ssoadmin.PermissionSetInlinePolicy")),
    exemptible=False,
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


@stack_rule("GH-IAM-002", types=())
def wildcards_are_limited(policy: Resource, stack: Stack) -> CheckResults:
    if policy.type in IDENTITY_POLICIES and is_permissions_boundary(policy, stack):
        return
    for document in documents_without_principals(policy):
        if iam_document.allows_administration(document):
            continue  # GH-IAM-001
        # GH-IAM-013
        unlimited = {
            each for grant in grants_of(document) if not grant.resources for each in grant.patterns
        }
        wildcards = iam_document.service_wildcards(document)
        for action in wildcards:
            if action not in unlimited:
                yield f"a statement allows {action}"
        actions = [
            action
            for action in iam_document.actions_on_all_resources(document)
            if action not in unlimited.union(wildcards)
            and not _LAMBDA_IN_VPC.fullmatch(action)
            and action.lower() not in _EVALUATED_ELSEWHERE
        ]
        if actions:
            listed = _shortened(actions)
            yield f"a statement allows {listed} on all resources without a condition"


def _shortened(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _ACTIONS_MAX} more" if len(texts) > _ACTIONS_MAX else ""
    return ", ".join(texts[:_ACTIONS_MAX]) + more


_ACTIONS_MAX = 3
#: Actions that GH-KMS-007 or GH-IAM-007 evaluates.
_EVALUATED_ELSEWHERE = frozenset(
    action.lower() for action in (*iam_document.DECRYPTION, "iam:PassRole")
)


@stack_rule("GH-IAM-003", types=tuple(ATTACHED_POLICIES))
def aws_managed_policies_are_limited(holder: Resource, stack: Stack) -> CheckResults:
    prop = ATTACHED_POLICIES[holder.type]
    own = is_of_program(holder, stack, "policyArn", aws("iam.Policy"))
    if own and not holder.props.known("policyArn"):
        return  # Policies in the program are evaluated separately.
    arns = holder.props.texts(prop) if prop.endswith("s") else [holder.props.text(prop)]
    # People administer a cluster with a role that is not of the program.
    is_person = holder.type.startswith("aws:ssoadmin/") or (
        holder.type in aws("eks.AccessPolicyAssociation")
        and (
            holder.props.block("accessScope").text("type") != "cluster"
            or (
                holder.props.known("principalArn")
                and not is_of_program(holder, stack, "principalArn", aws("iam.Role"))
            )
        )
    )
    for arn in arns:
        managed = _MANAGED.fullmatch(arn)
        if not managed or not _WIDE_POLICIES.fullmatch(managed[1]):
            continue
        if not is_person or managed[1] in _ADMINISTRATION:
            yield f"{prop} contains the AWS managed policy {managed[1]}"


@stack_rule("GH-IAM-004", types=aws("iam.Role"), lists=ACCOUNTS)
def trust_policy_is_restricted(role: Resource, stack: Stack) -> CheckResults:
    document = parse(role.props.value("assumeRolePolicy"))
    for service in access(document).services:
        if service not in _SERVICES_WITHOUT_SOURCE and not _is_execution_role(role, service, stack):
            yield Violation(
                f"the trust policy allows {service} without aws:SourceAccount or aws:SourceArn",
                "add a condition on aws:SourceAccount to the statement of the service",
                severity="medium",
            )
    yield from federation.federation_defects(document)
    yield from public_or_foreign_access(document, role, "the trust policy")


def _is_execution_role(role: Resource, service: str, stack: Stack) -> bool:
    """True for a role with which Amazon ECS only starts tasks, whose documented trust policy has no
    source condition.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    tasks = aws("ecs.TaskDefinition")
    return (
        service == "ecs-tasks.amazonaws.com"
        and bool(stack.referencing(role, tasks, "executionRoleArn"))
        and not stack.referencing(role, tasks, "taskRoleArn")
    )


# Services whose documented trust policies have no source condition, in all or some features. Such a
# condition can deny their requests. As of November 2026:
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-required-policy-for-cloudwatch-logs.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AmazonECSInfrastructureRolePolicyForLoadBalancers.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
_SERVICES_WITHOUT_SOURCE = frozenset(
    f"{service}.amazonaws.com"
    for service in name_set(
        "apigateway backup chatbot cloudtrail ec2 ecs edgelambda lambda pods.eks rds s3"
    )
)


@resource_rule(
    "GH-IAM-005",
    # Repositories (owner/name) that roles may trust. Empty: every repository except those of
    # examples.
    lists={"repositories": ()},
    types=aws("iam.Role"),
    exemptible=False,
)
def github_trust_is_restricted(role: Resource) -> CheckResults:
    document = parse(role.props.value("assumeRolePolicy"))
    yield from federation.github_trust_defects(document)
    for repository in federation.github_repositories(document):
        if repository.partition("/")[0].lower() in _EXAMPLE_OWNERS:
            yield (
                f"the trust policy allows {repository}, the repository of an example, which "
                f"belongs to somebody else"
            )
        elif role.lists["repositories"] and repository not in role.lists["repositories"]:
            yield (
                f"the trust policy allows {repository}, which is not in `repositories` of "
                f"policies.toml"
            )


# Owners in examples of documentation. The accounts exist on GitHub.
_EXAMPLE_OWNERS = name_set("example octo-org octocat my-org myorg your-org org owner orgname")


_WITH_USERS = aws("iam.GroupMembership", "iam.PolicyAttachment")
_USER_PROPERTIES = ("user", "userName", "username", "users")


@stack_rule(
    "GH-IAM-006",
    # All types with a property that names users.
    types=aws(
        *("iam.User", "iam.AccessKey", "iam.ServiceSpecificCredential", "iam.SigningCertificate"),
        *("iam.SshKey", "iam.UserGroupMembership", "iam.UserLoginProfile", "iam.UserPolicy"),
        *("iam.UserPolicyAttachment", "iam.UserPolicyAttachmentsExclusive"),
        "iam.UserPoliciesExclusive",
    )
    + _WITH_USERS,
)
def no_iam_users(user: Resource, stack: Stack) -> CheckResults:
    number = user.props.size("users") if user.type in _WITH_USERS else 1
    own = [
        each
        for name in _USER_PROPERTIES
        for each in stack.referenced_by(user, name, aws("iam.User"))
        if each.managed
    ]
    # A user of the program is reported itself.
    if len(own) < number:
        yield f"the program creates an IAM {user.type.rpartition(':')[2]}"


@stack_rule("GH-IAM-008", types=aws("iam.Role"))
def role_policies_have_one_owner(role: Resource, stack: Stack) -> CheckResults:
    if role.props.has("inlinePolicies") and stack.referencing(role, aws("iam.RolePolicy"), "role"):
        yield "the role sets inlinePolicies and also has RolePolicy resources"
    if role.props.has("managedPolicyArns") and stack.referencing(
        role, aws("iam.RolePolicyAttachment"), "role"
    ):
        yield "the role sets managedPolicyArns and also has RolePolicyAttachment resources"


@stack_rule("GH-IAM-007", types=())
def privilege_escalation_is_limited(holder: Resource, stack: Stack) -> CheckResults:
    if holder.type in aws("iam.Role") and _limits_nothing(holder, stack):
        yield "permissionsBoundary is a policy that allows every action, so it limits nothing"
    for document in _effective_documents(holder, stack):
        for grant in _grants(document, holder, stack):
            is_taking = grant.effects == (CREDENTIALS,)
            resources = [
                each
                for each in grant.resources
                if not _is_of_program(each, stack) and not (is_taking and _begins(each, stack))
            ]
            if resources and not _is_extended(grant, holder, stack):
                yield _far_reaching(grant, _shortened(resources))
        for allow in document.allows:
            limited = any(
                condition.key == "iam:passedtoservice" and is_narrowing(condition)
                for condition in allow.conditions
            )
            if allow.covers_action("iam:PassRole") and reaches_a_role(allow) and not limited:
                yield "a statement allows iam:PassRole without iam:PassedToService"


@stack_rule("GH-IAM-013", types=())
def far_reaching_actions_are_limited(holder: Resource, stack: Stack) -> CheckResults:
    for document in _effective_documents(holder, stack):
        for grant in _grants(document, holder, stack):
            if not grant.resources:
                yield _far_reaching(grant, "all resources")
            elif _is_extended(grant, holder, stack):
                yield _far_reaching(grant, "the identity itself")


def _far_reaching(grant: Grant, resources: str) -> Violation:
    examples = {pattern: action for pattern, action, _ in reversed(grant.actions)}
    actions = [
        f"{pattern} ({examples[pattern]})" if re.search("[*?]", pattern) else pattern
        for pattern in grant.patterns
    ]
    effects = " and ".join(effect.text for effect in grant.effects)
    message = f"a statement allows {_shortened(actions)} on {resources}"
    return Violation(f"{message}, with which the identity can {effects}", grant.effects[0].remedy)


def _effective_documents(holder: Resource, stack: Stack) -> Iterator[Document]:
    """The documents of an identity or a session, except those of boundaries and those that
    GH-IAM-001 reports.
    """
    if holder.type not in IDENTITY_POLICIES or not is_permissions_boundary(holder, stack):
        for document in documents_without_principals(holder):
            if not iam_document.allows_administration(document):
                yield document


def _grants(document: Document, holder: Resource, stack: Stack) -> Iterator[Grant]:
    """The grants with the actions that the boundaries of the identity do not exclude."""
    grants = grants_of(document)
    boundaries = [
        boundary
        for role in (_identities(holder, stack) if grants else ())
        for policy in stack.referenced_by(role, "permissionsBoundary", aws("iam.Policy"))
        for boundary in identity_documents(policy)
    ]
    for grant in grants:
        actions = tuple(
            action
            for action in grant.actions
            if not boundaries or any(allows_action(each, action[1]) for each in boundaries)
        )
        if actions:
            yield replace(grant, actions=actions)


def _identities(holder: Resource, stack: Stack) -> list[Resource]:
    """The roles and groups that have a policy."""
    types = aws("iam.Role", "iam.Group")
    if holder.type in types:
        return [holder]
    attached = stack.referencing(
        holder, aws("iam.RolePolicyAttachment", "iam.GroupPolicyAttachment"), "policyArn"
    )
    return [
        identity
        for each in (holder, *attached)
        for prop in ("role", "group")
        for identity in stack.referenced_by(each, prop, types)
    ]


def _is_of_program(pattern: str, stack: Stack) -> bool:
    """True if a pattern is the ARN, or has the name, of a resource that the program manages."""
    _, _, service, *_ = (*pattern.split(":"), "", "")
    module = {"config": "cfg", "sso": "ssoadmin"}.get(service, service.replace("-", ""))
    return any(
        owner.managed and owner.type.startswith(f"aws:{module}/")
        for owner in stack.named(pattern, _name(pattern))
    )


def _begins(pattern: str, stack: Stack) -> bool:
    """True if a pattern begins like the name of a role of the program, whose trust policies it
    manages. No condition on a boundary limits these actions.
    """
    stem, *wildcards = re.split("[*?]", _name(pattern), maxsplit=1)
    return bool(wildcards and stem) and any(
        role.managed and any(_name(name).startswith(stem) for name in role.identifiers)
        for role in stack.of_type(aws("iam.Role"))
    )


def _is_extended(grant: Grant, holder: Resource, stack: Stack) -> bool:
    """True if an identity can add permissions to itself."""
    names = {
        (resource.type.rpartition(":")[2].lower(), _name(name))
        for resource in (holder, *_identities(holder, stack))
        for name in resource.identifiers
    }
    return PERMISSIONS in grant.effects and any(
        pattern.endswith(SELF)
        or (
            _name(pattern).strip("*?")
            and any(
                f":{kind}/" in pattern and matches(name, _name(pattern)) for kind, name in names
            )
        )
        for pattern in grant.resources
    )


def _name(arn: str) -> str:
    return re.split("[/:]", arn)[-1]


role_has_boundary = resource_rule("GH-IAM-012", strict=True, types=aws("iam.Role")).requires(
    is_set("permissionsBoundary")
)


def _limits_nothing(role: Resource, stack: Stack) -> bool:
    boundaries = stack.referenced_by(role, "permissionsBoundary", aws("iam.Policy"))
    documents = [document for policy in boundaries for document in identity_documents(policy)]
    managed = _MANAGED.fullmatch(role.props.known_text("permissionsBoundary"))
    return (managed is not None and managed[1] in _ADMINISTRATION) or any(
        iam_document.allows_everything(document) and not document.denies for document in documents
    )


# Services whose documented resource policies have no source condition.
# https://docs.aws.amazon.com/glue/latest/dg/cross-account-access.html
_SERVICES_WITHOUT_POLICY_SOURCE = ("ram.amazonaws.com",)
# Types whose services GH-IAM-004, GH-KMS-005 and GH-CW-007 evaluate.
_SERVICES_EVALUATED = aws("iam.Role", "kms.KeyPolicy", "cloudwatch.LogResourcePolicy") + KEYS


@stack_rule("GH-IAM-010", types=())
def service_access_has_source(holder: Resource, stack: Stack) -> CheckResults:
    if not holder.type.startswith("aws:") or holder.type in _SERVICES_EVALUATED:
        return
    # GH-CT-006 evaluates the bucket of a trail of the program.
    has_trail = bool(stack.of_type(aws("cloudtrail.Trail")))
    for document in documents_of(holder):
        for service in access(document).services:
            is_evaluated = has_trail and service == "cloudtrail.amazonaws.com"
            if service not in _SERVICES_WITHOUT_POLICY_SOURCE and not is_evaluated:
                yield (
                    f"the policy allows {service} without a condition on aws:SourceAccount or "
                    f"aws:SourceArn"
                )
        for arn in sorted(access(document).buckets):
            name = arn.rpartition(":")[2].partition("/")[0]
            if stack.identifiers.isdisjoint((arn, name)):
                yield (
                    f"the policy allows a service for {arn}, whose account only a condition on "
                    f"aws:SourceAccount names"
                )


# Types whose policies other rules evaluate, except their networks.
_POLICIES_EVALUATED = KEYS + aws(
    *("cloudwatch.LogResourcePolicy", "ec2.VpcEndpoint", "ec2.VpcEndpointPolicy"),
    *("ecr.RegistryPolicy", "ecr.RepositoryCreationTemplate", "ecr.RepositoryPolicy", "iam.Role"),
    *("elasticsearch.Domain", "elasticsearch.DomainPolicy", "kms.KeyPolicy", "opensearch.Domain"),
    *("opensearch.DomainPolicy", "s3.Bucket", "s3.BucketPolicy", "secretsmanager.Secret"),
    *("secretsmanager.SecretPolicy", "sns.Topic", "sns.TopicPolicy", "sqs.Queue"),
    "sqs.QueuePolicy",
)
_EVERYONE = re.compile(r"principals?|grantee", re.IGNORECASE)


@stack_rule("GH-IAM-011", types=(), lists=ACCOUNTS)
def resource_is_not_shared(holder: Resource, stack: Stack) -> CheckResults:
    if not holder.type.startswith("aws:"):
        return
    # GH-LAM-004 evaluates permissions.
    limited = any(map(holder.props.has, ("organizationId", "condition")))
    limited = limited or holder.type in aws("lambda.Permission")
    for path, value in values_of(holder):
        if value == "*" and _EVERYONE.search(path.rpartition(".")[2]) and not limited:
            yield f"{path} allows everyone"
    # Partners in the list `accounts` can be outside the organization.
    is_share = holder.type in aws("ram.ResourceShare")
    partners = any(map(str.isdigit, holder.lists["accounts"]))
    if is_share and not partners and holder.props.flag("allowExternalPrincipals"):
        yield "allowExternalPrincipals is true, so the share can leave the organization"
    for document in documents_of(holder):
        yield from foreign_networks(document, holder, stack)
        if holder.type not in _POLICIES_EVALUATED:
            yield from _foreign_access(document, holder, stack)


def _foreign_access(document: Document, holder: Resource, stack: Stack) -> CheckResults:
    free = "s3:.*accesspoint.*" if "AccessPoint" in holder.type else ""
    limited = _is_limited_to_vpc(holder, stack) or _is_limited_api(holder, stack)
    for message in public_or_foreign_access(document, holder, "the resource policy", free):
        if not (limited and access(document, free).everyone and "everyone" in message):
            yield message


def _is_limited_to_vpc(holder: Resource, stack: Stack) -> bool:
    """True for the policy of an S3 access point that accepts requests from one VPC only.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-vpc.html
    """
    own = [holder] if holder.type in aws("s3.AccessPoint") else []
    points = (*own, *stack.referenced_by(holder, "accessPointArn", aws("s3.AccessPoint")))
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
