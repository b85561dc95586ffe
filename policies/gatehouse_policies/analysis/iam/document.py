"""Analyzes parsed policy documents for public and cross-account access, administrative permissions
and role trust.
"""

import re
from dataclasses import replace

from gatehouse_policies.analysis.iam.actions import (
    covers_every_action,
    is_narrowing,
    is_service_wildcard,
    reaches_all_resources,
    reaches_everything,
    unlimited_actions,
)
from gatehouse_policies.analysis.iam.delivery_accounts import DELIVERY_ACCOUNTS
from gatehouse_policies.analysis.iam.grammar import (
    Condition,
    Document,
    Statement,
    matches,
    variables_of,
)
from gatehouse_policies.analysis.network_reachability import is_small_network
from gatehouse_policies.lists import name_set

GITHUB = "token.actions.githubusercontent.com"

DECRYPTION = ("kms:Decrypt", "kms:ReEncryptFrom")
_IAM_ADMINISTRATION = name_set(
    "iam:AttachRolePolicy iam:CreatePolicyVersion iam:CreateRole iam:PutRolePolicy"
)

PRIVILEGE_ESCALATION = name_set(
    "iam:AddUserToGroup iam:AttachGroupPolicy iam:AttachRolePolicy iam:AttachUserPolicy "
    "iam:CreateAccessKey iam:CreateLoginProfile iam:CreatePolicyVersion "
    "iam:DeleteRolePermissionsBoundary iam:DeleteRolePolicy iam:DeleteUserPermissionsBoundary "
    "iam:DetachRolePolicy iam:PutGroupPolicy iam:PutRolePermissionsBoundary iam:PutRolePolicy "
    "iam:PutUserPermissionsBoundary iam:PutUserPolicy iam:SetDefaultPolicyVersion "
    "iam:UpdateAssumeRolePolicy iam:UpdateLoginProfile iam:UpdateSAMLProvider sts:AssumeRole "
    "cloudformation:CreateChangeSet cloudformation:CreateStack cloudformation:UpdateStack "
    "codebuild:StartBuild codebuild:UpdateProject ec2:ModifyInstanceAttribute "
    "ec2-instance-connect:SendSSHPublicKey ecs:ExecuteCommand eks:AssociateAccessPolicy "
    "glue:UpdateDevEndpoint glue:UpdateJob lambda:UpdateFunctionCode "
    "lambda:UpdateFunctionConfiguration sagemaker:CreatePresignedNotebookInstanceUrl "
    "ssm:SendCommand ssm:StartSession states:UpdateStateMachine"
)
"""Actions that give a principal the permissions of another principal, or more permissions than it
has.

Each action changes a policy, a credential or the code that runs under a role. `iam:PassRole` is not
included. https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html
and the AWS guidance on privilege escalation in
https://docs.aws.amazon.com/prescriptive-guidance/latest/least-privilege-cloudformation/
"""

_ACCOUNT = re.compile(r"^\d{12}$")
_BUCKET = re.compile(r"[^*?/]{3}[^/]*|[^*?/]+")
_ROOT = re.compile(r"(?:arn:[^:]*:iam::)?(\d{12})(?::root)?")
# What AWS needs for the delivery of logs to a bucket.
_DELIVERY = frozenset({"s3:putobject", "s3:getbucketacl", "s3:getbucketpolicy"})
_ARN_ACCOUNT = re.compile(r"^arn:[^:]*:[^:]*:[^:]*:(\d{12}):")

# Condition keys that restrict a request to an account, organization, network or resource. With such
# a key, "*" is not public.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html (the
# meaning of "public")
_RESTRICTING_KEYS = name_set(
    "aws:principalaccount aws:principalarn aws:principalorgid aws:principalorgpaths "
    "aws:sourceaccount aws:sourcearn aws:sourceorgid aws:sourceorgpaths aws:sourceowner "
    "aws:sourcevpc aws:sourcevpce aws:userid aws:vpceaccount aws:vpceorgid aws:vpceorgpaths "
    "kms:calleraccount s3:dataaccesspointaccount s3:dataaccesspointarn "
    "vpc-lattice-svcs:sourcevpc vpc-lattice-svcs:sourcevpcowneraccount"
)
# Requests to a file system through a mount target come from the networks of its VPC.
# https://docs.aws.amazon.com/efs/latest/ug/access-control-block-public-access.html
_MOUNT_TARGET = "elasticfilesystem:accessedviamounttarget"
# Keys of the network and of the user. They say nothing about the account of a principal.
_UNRELATED_KEYS = re.compile(
    rf"aws:(source(ip|vpce?)|userid|vpce\w+)|vpc-lattice-svcs:\w+|{_MOUNT_TARGET}"
)
# Keys that have the same value in all requests of an identity, or in all that reach its account.
# Services such as Lambda and EC2 add theirs to the credentials of a function or an instance.
# https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
_CONSTANT_KEYS = re.compile(
    r"\w+:(principal|resource|caller|sourcefunction|sourceinstance)(account|arn|orgid|orgpaths)"
    r"|aws:(principaltag/.*|ec2instancesource\w+|federatedprovider|sourceidentity|userid|username)"
    r"|ec2:roledelivery|glue:(credentialissuingservice|roleassumedby)"
    r"|s3:(authtype|signatureversion|tlsversion)"
)
# Keys of the Region of a request, which narrow neither who nor what.
_REGIONS = ("aws:requestedregion", "ec2:region")
# Variables that have the same value for all principals.
_RESOURCE_VARIABLES = name_set("aws:resourceaccount aws:resourceorgid aws:resourceorgpaths * ? $")
POSITIVE_OPERATORS = name_set("stringequals stringequalsignorecase stringlike arnequals arnlike")


def is_restricted(statement: Statement) -> bool:
    """True if a condition restricts the request to known accounts, organizations, networks or
    resources.
    """
    return any(_restricts(condition) for condition in statement.conditions)


def allows_public(document: Document) -> bool:
    """True if a statement allows access to everyone without a restricting condition."""
    return any(
        allow.applies_to_everyone() and not is_restricted(allow) for allow in document.allows
    )


def without_denied(document: Document, action: str) -> Document:
    """The document with the exceptions of a Deny statement, if they are specific, as conditions of
    the statements that it limits.
    """
    statements: list[Statement] = []
    for allow in document.allows:
        limit = next((d for d in document.denies if _excludes_others(d, action, allow)), None)
        # A Deny applies if all its conditions hold, so a request needs one exception only.
        exceptions = [(_exception(condition),) for condition in limit.conditions] if limit else [()]
        statements += (
            replace(allow, conditions=(*allow.conditions, *exception)) for exception in exceptions
        )
    return replace(document, statements=tuple(statements))


def _excludes_others(deny: Statement, action: str, allow: Statement) -> bool:
    return (
        deny.not_principals is None
        and deny.applies_to_everyone()
        and deny.covers_action(action)
        and all(map(_excludes, deny.conditions))
        and allow.resources is not None
        and all(
            any(matches(resource, pattern) for pattern in deny.resources or ())
            for resource in allow.resources
        )
    )


def _excludes(condition: Condition) -> bool:
    """True if a Deny statement with this negated condition admits known requesters only."""
    # ForAnyValue matches no request without the key.
    is_negated = "not" in condition.operator and not condition.quantifier
    return is_negated and _restricts(_exception(condition))


def _exception(condition: Condition) -> Condition:
    return replace(condition, operator=condition.operator.replace("not", ""), if_exists=False)


def allowed_accounts(document: Document) -> frozenset[str]:
    """The accounts that the Allow statements name in principals, or in conditions that restrict the
    requests to accounts, and principals that name no account, such as the unique ID of a role and
    a canonical user.

    Statements with another restricting condition, such as on an organization, are excluded.
    """
    return frozenset(
        account
        for allow in document.allows
        for account in _accounts_of_statement(allow) - _delivering(allow)
    )


def _delivering(allow: Statement) -> frozenset[str]:
    """The accounts of AWS that a statement allows to deliver logs, and nothing else."""
    if not allow.actions or not _DELIVERY.issuperset(action.lower() for action in allow.actions):
        return frozenset()
    roots = (match for _, value in allow.principals or () if (match := _ROOT.fullmatch(value)))
    return DELIVERY_ACCOUNTS.intersection(match[1] for match in roots)


def _accounts_of_statement(allow: Statement) -> frozenset[str]:
    named = {
        _account_or_id(value, kind in ("AWS", "CanonicalUser"))
        for kind, value in allow.principals or ()
    } - {"*", ""}
    restricting = list(filter(_restricts, allow.conditions))
    related = [each for each in restricting if not _UNRELATED_KEYS.fullmatch(each.key)]
    if any(not condition.key.endswith(("account", "arn", "owner")) for condition in related):
        return frozenset()
    conditions = related if named or related else restricting
    limits = [
        {_account_or_id(value, each.key == "aws:userid") for value in each.values} - {""}
        for each in conditions
    ]
    # All conditions must hold. A principal of another account than the conditions name has no
    # access.
    sets = [frozenset(accounts) for accounts in (named, *limits) if accounts]
    return frozenset.intersection(*sets) if sets else frozenset()


def _account_or_id(principal: str, is_id: bool) -> str:
    return account_of(principal) or (principal if is_id else "")


def account_of(principal: str) -> str:
    """The account of an AWS principal (account ID or ARN); "" if the principal has no account."""
    if _ACCOUNT.match(principal):
        return principal
    match = _ARN_ACCOUNT.match(principal)
    return match.group(1) if match else ""


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
    return unlimited_actions(_in_any_region(document), _IAM_ADMINISTRATION) == _IAM_ADMINISTRATION


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


def escalating_actions(document: Document) -> tuple[str, ...]:
    """The actions of `PRIVILEGE_ESCALATION` that are allowed on all resources of a type without a
    condition, sorted.
    """
    return tuple(sorted(unlimited_actions(_in_any_region(document), PRIVILEGE_ESCALATION)))


def _in_any_region(document: Document) -> list[Statement]:
    """The Allow statements without a condition, other than one on the Region."""
    return [allow for allow in document.allows if not is_narrowed(allow, *_REGIONS)]


def is_narrowed(statement: Statement, *ignored: str) -> bool:
    """True if a condition of the statement of an identity policy does not hold for most requests of
    the identity. ignored: keys whose conditions are not considered.
    """
    return any(
        is_narrowing(condition)
        for condition in statement.conditions
        if condition.key not in ignored and not _CONSTANT_KEYS.fullmatch(condition.key)
    )


def allows_decryption_with_all_keys(document: Document) -> bool:
    """True if decryption is allowed with all KMS keys of an account. Conditions are not considered.

    Equivalent to Security Hub KMS.1:
    https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html
    """
    return bool(unlimited_actions(document.allows, DECRYPTION))


def unrestricted_services(document: Document) -> tuple[str, ...]:
    """The AWS services that are allowed without a condition on the source account or resource,
    sorted.
    """
    return tuple(
        sorted(
            value
            for allow in document.allows
            if not is_restricted(allow)
            for kind, value in allow.principals or ()
            if kind == "Service"
            and not (value in _SERVICES_WITH_EXTERNAL_ID and _exact_values(allow, "sts:externalid"))
        )
    )


def is_without_tls(condition: Condition) -> bool:
    values = [value.lower() for value in condition.values]
    return (condition.operator, condition.key, values) == ("bool", "aws:securetransport", ["false"])


# Services that assume a role with the external ID of the customer, which is then a source
# condition.
# https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pool-settings-sms-messages.html
# https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#firehose-assume-role
_SERVICES_WITH_EXTERNAL_ID = ("cognito-idp.amazonaws.com", "firehose.amazonaws.com")
# Condition key of the audience, keyed by a part of the ARN or name of the identity provider.
_AUDIENCES = {
    ":saml-provider/": "saml:aud",
    "cognito-identity.amazonaws.com": "cognito-identity.amazonaws.com:aud",
}
# The audience of all tokens for AWS.
_AWS_AUDIENCE = "sts.amazonaws.com"
# Issuers whose tokens name the customer in the subject (sub). Without a subject that names one, any
# customer of the issuer matches.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html
_SHARED_ISSUERS = (
    *("gitlab.com", "app.terraform.io", "agent.buildkite.com", "oidc.circleci.com"),
    *("oidc.vercel.com", "api.pulumi.com"),
)
# The subject begins with the group, organization or team, or names the namespace of a service
# account of Amazon EKS. Patterns of other formats are rejected.
_TENANT = re.compile(
    r"(?:project_path|organization|org|owner|pulumi:\w+:org)[:/][^:/*?]+[:/].*"
    r"|system:serviceaccount:[^:*?].*|[^*?]+"
)


def denies_requests_without_tls(document: Document, *actions: str, name: str = "") -> bool:
    """True if all principals are denied each of the actions without TLS, and no other condition
    limits the Deny statements.

    name: the last part of the ARN of the resource. If empty, the function accepts any resource.
    """
    denies = [
        deny
        for deny in document.denies
        if deny.applies_to_everyone()
        and list(map(is_without_tls, deny.conditions)) == [True]
        and (not name or any(matches(name, arn.rpartition(":")[2]) for arn in deny.resources or ()))
    ]
    return all(any(deny.covers_action(action) for deny in denies) for action in actions)


def federation_defects(document: Document) -> tuple[str, ...]:
    """Defects in a trust policy for identity providers other than GitHub's, which
    `github_trust_defects` covers.
    """
    defects: list[str] = []
    for allow in document.allows:
        exact = {condition.key for condition in allow.conditions if _names_customer(condition)}
        for kind, provider in allow.principals or ():
            if kind != "Federated" or f"oidc-provider/{GITHUB}" in provider:
                continue
            audience = next((key for part, key in _AUDIENCES.items() if part in provider), "")
            # Amazon, Facebook and Google have no ARN.
            issuer = provider.rpartition(":oidc-provider/")[2]
            claims = {f"{issuer}:{name}".lower() for name in ("sub", "aud", "app_id")}
            if audience and audience not in exact:
                defects.append(
                    f"the trust policy does not require the audience ({audience}) of the "
                    f"identity provider"
                )
            elif (
                issuer.partition("/")[0].endswith(_SHARED_ISSUERS) or issuer.startswith("oidc.eks.")
            ) and not any(
                condition.key == f"{issuer}:sub".lower()
                and _names_customer(condition)
                and all(map(_TENANT.fullmatch, condition.values))
                for condition in allow.conditions
            ):
                defects.append(
                    f"the trust policy does not require a subject (sub) of {issuer} that names a "
                    f"group, organization, team or namespace"
                )
            elif not audience and not exact & claims:
                defects.append(
                    f"the trust policy requires neither a subject (sub) of {issuer} nor an "
                    f"audience (aud) other than {_AWS_AUDIENCE}"
                )
    return tuple(defects)


def _names_customer(condition: Condition) -> bool:
    """False for a claim that tokens of other customers have, such as a pattern of an audience."""
    text = "".join(condition.values)
    is_exact = re.match("saml:|.*:sub$", condition.key) or not re.search("[*?]", text)
    is_own = "${" not in text and _AWS_AUDIENCE not in condition.values
    return is_narrowing(condition) and is_own and bool(is_exact)


def github_trust_defects(document: Document) -> tuple[str, ...]:
    """Defects in a trust policy for GitHub's OIDC provider. Empty for a trust policy that does not
    name this provider.

    https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
    """
    defects: list[str] = []
    for allow in document.allows:
        federated = [value for kind, value in allow.principals or () if kind == "Federated"]
        # The issuer of an enterprise ends with the slug of the enterprise.
        issuers = [
            value.partition("oidc-provider/")[2]
            for value in federated
            if f"oidc-provider/{GITHUB}" in value
        ]
        if not issuers:
            continue
        if _exact_values(allow, f"{issuers[0]}:aud") != (_AWS_AUDIENCE,):
            defects.append(
                f"the trust policy does not require the audience (aud) {_AWS_AUDIENCE} with "
                "StringEquals"
            )
        subjects = _exact_values(allow, f"{issuers[0]}:sub")
        if not subjects:
            defects.append("the trust policy does not require a subject (sub) with StringEquals")
        elif not all(
            re.match(r"^repo:[^/*?:]+/[^/*?:]+:(?!pull_request$)[^*?$]+$", subject)
            for subject in subjects
        ):
            defects.append(
                "the subject (sub) does not name one repository and one environment or ref"
            )
    return tuple(defects)


def github_repositories(document: Document) -> tuple[str, ...]:
    """The repositories (owner/name) whose jobs may assume a role through GitHub's OIDC provider,
    sorted.
    """
    subjects = (
        subject
        for allow in document.allows
        for condition in allow.conditions
        if condition.key.startswith(GITHUB) and condition.key.endswith(":sub")
        for subject in condition.values
    )
    return tuple(
        sorted({subject.split(":")[1] for subject in subjects if subject.startswith("repo:")})
    )


def _exact_values(statement: Statement, key: str) -> tuple[str, ...]:
    for condition in statement.conditions:
        is_inexact = condition.if_exists or condition.quantifier
        if (condition.operator, condition.key) == ("stringequals", key.lower()) and not is_inexact:
            return condition.values
    return ()


def _restricts(condition: Condition) -> bool:
    # IfExists and ForAllValues match a request without the key, and negated operators match
    # everyone else.
    if condition.if_exists or condition.quantifier == "forallvalues":
        return False
    if condition.key == "aws:sourceip":
        return condition.operator == "ipaddress" and is_small_network(*condition.values)
    if condition.key == _MOUNT_TARGET:
        return condition.operator == "bool" and [*map(str.lower, condition.values)] == ["true"]
    if condition.operator not in POSITIVE_OPERATORS | {"ipaddress"}:
        return False
    if condition.key not in _RESTRICTING_KEYS or not condition.values:
        return False
    return all(is_specific(condition.key, value) for value in condition.values)


def is_specific(key: str, value: str) -> bool:
    """True if the value of a restricting key names an account, an organization or a resource."""
    if not variables_of(value) <= _RESOURCE_VARIABLES:
        return False  # The request determines the value.
    if key.endswith("arn"):
        parts = value.split(":", 5)
        # S3 bucket ARNs have no account, so the bucket name must not start with a wildcard.
        return len(parts) == 6 and (
            _ACCOUNT.match(parts[4]) is not None
            or (parts[2] == "s3" and _BUCKET.fullmatch(parts[5]) is not None)
        )
    if key.endswith("orgpaths"):
        value = value.partition("/")[0]  # Each path begins with its organization.
    return "*" not in value and "?" not in value
