"""Analyzes parsed policy documents for public and cross-account access, administrative permissions and role trust."""

import ipaddress
import re

from policies.analysis.iam.grammar import Condition, Document, Statement, matches

GITHUB = "token.actions.githubusercontent.com"

_ACCOUNT = re.compile(r"^\d{12}$")
_ARN_ACCOUNT = re.compile(r"^arn:[^:]*:[^:]*:[^:]*:(\d{12}):")

# Condition keys that restrict a request to an account, organization, network or resource. With such a key, "*" is not public.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html (the meaning of "public")
_RESTRICTING_KEYS = frozenset(
    {
        *("aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount"),
        *("aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "aws:userid"),
        *("aws:username", "kms:calleraccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn"),
    }
)
POSITIVE_OPERATORS = frozenset({"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"})


def is_restricted(statement: Statement) -> bool:
    """True if a condition restricts the request to known accounts, organizations, networks or resources."""
    return any(_restricts(condition) for condition in statement.conditions)


def allows_public(document: Document) -> bool:
    """True if a statement allows access to everyone without a restricting condition."""
    return any(allow.applies_to_everyone() and not is_restricted(allow) for allow in document.allows)


def allows_not_principal(document: Document) -> bool:
    """True if an Allow statement uses NotPrincipal, which AWS advises against."""
    return any(allow.not_principals is not None for allow in document.allows)


def allowed_accounts(document: Document) -> frozenset[str]:
    """The accounts of the principals that an unrestricted statement allows."""
    statements = (allow for allow in document.allows if not is_restricted(allow))
    principals = (value for allow in statements for kind, value in allow.principals or () if kind == "AWS")
    return frozenset(account for principal in principals if (account := account_of(principal)))


def account_of(principal: str) -> str:
    """The account of an AWS principal (account ID or ARN); "" if the principal has no account."""
    if _ACCOUNT.match(principal):
        return principal
    match = _ARN_ACCOUNT.match(principal)
    return match.group(1) if match else ""


def allows_everything(document: Document) -> bool:
    """True if a statement allows all actions, or all but some (NotAction), on all resources."""
    return any(
        _is_wildcard(allow.resources) and (_is_wildcard(allow.actions) or allow.not_actions is not None)
        for allow in document.allows
    )


def service_wildcards(document: Document) -> tuple[str, ...]:
    """The allowed actions of the form `service:*`, sorted."""
    actions = {action for allow in document.allows for action in allow.actions or ()}
    return tuple(sorted(action for action in actions if re.match(r"^[\w-]+:\*+$", action)))


def actions_on_all_resources(document: Document) -> tuple[str, ...]:
    """The actions that are allowed on resource "*" without a condition, sorted."""
    statements = (allow for allow in document.allows if _is_wildcard(allow.resources) and not allow.conditions)
    return tuple(sorted({action for allow in statements for action in allow.actions or ()}))


def allows_decryption_with_all_keys(document: Document) -> bool:
    """True if decryption is allowed with all KMS keys of an account. Conditions are not considered.

    Equivalent to Security Hub KMS.1: https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html
    """
    decrypting = (allow for allow in document.allows if any(map(allow.covers_action, ("kms:Decrypt", "kms:ReEncryptFrom"))))
    return any(allow.not_resources is not None or any(map(_covers_all_keys, allow.resources or ())) for allow in decrypting)


def _covers_all_keys(arn: str) -> bool:
    if arn == "*":
        return True
    parts = arn.split(":", 5)
    return len(parts) == 6 and parts[0] == "arn" and matches("kms", parts[2]) and parts[5] in ("*", "key/*", "alias/*")


def unrestricted_services(document: Document) -> tuple[str, ...]:
    """The AWS services that are allowed without a condition on the source account or resource, sorted."""
    statements = (allow for allow in document.allows if not is_restricted(allow))
    return tuple(sorted(value for allow in statements for kind, value in allow.principals or () if kind == "Service"))


def is_without_tls(condition: Condition) -> bool:
    """True for a condition that matches requests without TLS."""
    values = [value.lower() for value in condition.values]
    return (condition.operator, condition.key, values) == ("bool", "aws:securetransport", ["false"])


def github_trust_defects(document: Document) -> tuple[str, ...]:
    """Defects in a trust policy for GitHub's OIDC provider. Empty for a trust policy that does not name this provider.

    https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
    """
    defects: list[str] = []
    for allow in document.allows:
        federated = [value for kind, value in allow.principals or () if kind == "Federated"]
        if not any(value.endswith(f"oidc-provider/{GITHUB}") for value in federated):
            continue
        if _exact_values(allow, f"{GITHUB}:aud") != ("sts.amazonaws.com",):
            defects.append("the trust policy does not require the audience (aud) sts.amazonaws.com with StringEquals")
        subjects = _exact_values(allow, f"{GITHUB}:sub")
        if not subjects:
            defects.append("the trust policy does not require a subject (sub) with StringEquals")
        elif not all(re.match(r"^repo:[^/*?:]+/[^/*?:]+:[^*?]+$", subject) for subject in subjects):
            defects.append("the subject (sub) does not name one repository and one environment or ref")
    return tuple(defects)


def github_repositories(document: Document) -> tuple[str, ...]:
    """The repositories (owner/name) whose jobs may assume a role through GitHub's OIDC provider, sorted."""
    subjects = (subject for allow in document.allows for subject in _exact_values(allow, f"{GITHUB}:sub"))
    return tuple(sorted({subject.split(":")[1] for subject in subjects if subject.startswith("repo:")}))


def _exact_values(statement: Statement, key: str) -> tuple[str, ...]:
    for condition in statement.conditions:
        exact = condition.operator == "stringequals" and not condition.if_exists and not condition.quantifier
        if exact and condition.key == key.lower():
            return condition.values
    return ()


def _restricts(condition: Condition) -> bool:
    # IfExists and ForAllValues match a request without the key, and negated operators match everyone else.
    if condition.if_exists or condition.quantifier == "forallvalues":
        return False
    if condition.key == "aws:sourceip":
        return condition.operator == "ipaddress" and all(_is_small_network(value) for value in condition.values)
    if condition.operator not in POSITIVE_OPERATORS | {"ipaddress"}:
        return False
    if condition.key not in _RESTRICTING_KEYS or not condition.values:
        return False
    return all(_is_specific(condition.key, value) for value in condition.values)


def _is_specific(key: str, value: str) -> bool:
    if key in ("aws:sourcearn", "aws:principalarn"):
        parts = value.split(":", 5)
        # S3 bucket ARNs have no account, so the bucket name must not start with a wildcard.
        return len(parts) == 6 and (_ACCOUNT.match(parts[4]) is not None or (parts[2] == "s3" and "*" not in parts[5][:3]))
    return "*" not in value and "?" not in value


def _is_small_network(value: str) -> bool:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 32)


def _is_wildcard(patterns: tuple[str, ...] | None) -> bool:
    return any(re.fullmatch(r"\*+(:\*+)?", pattern) for pattern in patterns or ())
