"""Answers questions about parsed IAM documents: who is let in, who is kept out, what an identity may do; pure."""

import ipaddress
import re
from collections.abc import Iterable

from policies.analysis.iam.grammar import Condition, Document, DocumentError, Statement, matches, parse

__all__ = [
    "Document",
    "DocumentError",
    "account_of",
    "actions_on_everything",
    "allows_by_exclusion",
    "allows_everything",
    "allows_on_every_key",
    "allows_public",
    "denies_old_tls",
    "denies_plain_http",
    "foreign_accounts",
    "github_trust_faults",
    "has_account_principals",
    "is_narrowed",
    "locks_out",
    "parse",
    "service_wildcards",
    "unguarded_services",
]

_ACCOUNT = re.compile(r"^\d{12}$")
_ARN_ACCOUNT = re.compile(r"^arn:[^:]*:[^:]*:[^:]*:(\d{12}):")

# Condition keys that tie a request to an account, an organisation, a network or one resource, and so make "*" harmless.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html (the meaning of
# "public")
_NARROWING = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:username",
        "kms:calleraccount",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
    }
)
_NARROWING_OPERATORS = frozenset({"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"})
# Networks a caller can be locked out of by changing the network, without any principal left that may undo it.
_LOCATION = frozenset({"aws:sourcevpc", "aws:sourcevpce", "aws:sourceip", "aws:vpcsourceip"})

# --- Questions about resource policies
# -----------------------------------------------------------------------------------


def denies_plain_http(document: Document, bucket: str = "") -> bool:
    """True when everyone is denied everything without TLS, on the bucket and on its objects.

    `bucket` is the bucket's name; without it, any one bucket that is covered together with its objects counts.
    https://docs.aws.amazon.com/config/latest/developerguide/s3-bucket-ssl-requests-only.html
    """
    covered: set[str] = set()
    for deny in document.denies:
        if _denies_everyone(deny, "s3:*") and _only_condition_is(deny, "bool", "aws:securetransport", "false"):
            covered |= set(deny.resources or ())
    return _covers_bucket(covered, bucket)


def denies_old_tls(document: Document, bucket: str = "") -> bool:
    """True when everyone is denied everything over TLS below 1.2, on the bucket and on its objects."""
    covered: set[str] = set()
    for deny in document.denies:
        if not _denies_everyone(deny, "s3:*") or len(deny.conditions) != 1:
            continue
        condition = deny.conditions[0]
        old = condition.key == "s3:tlsversion" and condition.operator == "numericlessthan"
        if old and all(_number(value) >= 1.2 for value in condition.values):
            covered |= set(deny.resources or ())
    return _covers_bucket(covered, bucket)


def is_narrowed(statement: Statement) -> bool:
    """True when a condition ties the request to known accounts, organisations, networks or resources."""
    return any(_narrows(condition) for condition in statement.conditions)


def allows_public(document: Document) -> bool:
    """True when a statement allows something to anyone, and no condition ties it to an account, organisation or
    network.
    """
    return any(allow.is_for_everyone() and not is_narrowed(allow) for allow in document.allows)


def allows_by_exclusion(document: Document) -> bool:
    """True when a statement allows to everybody but some (NotPrincipal), which AWS advises against in any form."""
    return any(allow.not_principals is not None for allow in document.allows)


def has_account_principals(document: Document) -> bool:
    """True when a statement allows to a principal that belongs to an account, without a narrowing condition."""
    return any(
        kind == "AWS" and account_of(value) != ""
        for allow in document.allows
        if not is_narrowed(allow)
        for kind, value in allow.principals or ()
    )


def foreign_accounts(document: Document, own: Iterable[str]) -> tuple[str, ...]:
    """The accounts besides `own` that a statement allows something to without any narrowing condition, sorted."""
    ours = frozenset(own)
    found = set()
    for allow in document.allows:
        if is_narrowed(allow):
            continue
        for kind, value in allow.principals or ():
            account = account_of(value) if kind == "AWS" else ""
            if account and account not in ours:
                found.add(account)
    return tuple(sorted(found))


def locks_out(document: Document, manage: Iterable[str] = ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy")) -> bool:
    """True when everyone is denied to change the policy again, always or from everywhere but one network.

    Only the account's root user could then undo it: https://repost.aws/knowledge-center/s3-accidentally-denied-access
    """
    for deny in document.denies:
        if not deny.is_for_everyone() or deny.not_principals is not None:
            continue
        if not any(deny.covers_action(action) for action in manage):
            continue
        if all(condition.key in _LOCATION for condition in deny.conditions):
            return True
    return False


def account_of(principal: str) -> str:
    """The account id in an AWS principal (an id or an ARN), "" when there is none."""
    if _ACCOUNT.match(principal):
        return principal
    found = _ARN_ACCOUNT.match(principal)
    return found.group(1) if found else ""


# --- Questions about identity policies
# -----------------------------------------------------------------------------------


def allows_everything(document: Document) -> bool:
    """True when a statement allows every action on every resource, or all but a few (NotAction) on every resource."""
    return any(
        _is_wild(allow.resources) and (_is_wild(allow.actions) or allow.not_actions is not None) for allow in document.allows
    )


def service_wildcards(document: Document) -> tuple[str, ...]:
    """The `service:*` actions that are allowed, sorted."""
    return tuple(
        sorted({action for allow in document.allows for action in allow.actions or () if re.match(r"^[\w-]+:\*+$", action)})
    )


def actions_on_everything(document: Document) -> tuple[str, ...]:
    """The actions that are allowed on resource "*" without a condition, sorted."""
    return tuple(
        sorted(
            {
                action
                for allow in document.allows
                if _is_wild(allow.resources) and not allow.conditions
                for action in allow.actions or ()
            }
        )
    )


def allows_on_every_key(document: Document, actions: Iterable[str] = ("kms:Decrypt", "kms:ReEncryptFrom")) -> bool:
    """True when one of the actions is allowed on all KMS keys, of this or any account; conditions are not looked at.

    The same reading as Security Hub KMS.1: https://docs.aws.amazon.com/securityhub/latest/userguide/kms-controls.html
    """
    wanted = tuple(actions)
    for allow in document.allows:
        every_key = allow.not_resources is not None or any(_is_every_key(arn) for arn in allow.resources or ())
        if every_key and any(allow.covers_action(action) for action in wanted):
            return True
    return False


def _is_every_key(arn: str) -> bool:
    if arn == "*":
        return True
    parts = arn.split(":", 5)
    return len(parts) == 6 and parts[0] == "arn" and matches("kms", parts[2]) and parts[5] in ("*", "key/*", "alias/*")


def unguarded_services(document: Document) -> tuple[str, ...]:
    """The AWS services that may assume the role without saying for which account or resource they act, sorted."""
    return tuple(
        sorted(
            value
            for allow in document.allows
            if not is_narrowed(allow)
            for kind, value in allow.principals or ()
            if kind == "Service"
        )
    )


# --- Questions about trust policies
# --------------------------------------------------------------------------------------

GITHUB = "token.actions.githubusercontent.com"


def github_trust_faults(document: Document) -> tuple[str, ...]:
    """What is loose in a trust policy for GitHub's OIDC provider, in words; empty when it is tight or not about GitHub.

    https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
    """
    faults: list[str] = []
    for allow in document.allows:
        federated = [value for kind, value in allow.principals or () if kind == "Federated"]
        if not any(value.endswith(f"oidc-provider/{GITHUB}") for value in federated):
            continue
        if _exact(allow, f"{GITHUB}:aud") != ("sts.amazonaws.com",):
            faults.append("the audience (aud) is not tied to sts.amazonaws.com with StringEquals")
        subjects = _exact(allow, f"{GITHUB}:sub")
        if not subjects:
            faults.append("the subject (sub) is not tied with StringEquals")
        elif not all(re.match(r"^repo:[^/*?:]+/[^/*?:]+:[^*?]+$", subject) for subject in subjects):
            faults.append("the subject (sub) does not name one repository and one environment or ref")
    return tuple(faults)


def _exact(statement: Statement, key: str) -> tuple[str, ...]:
    for condition in statement.conditions:
        exact = condition.operator == "stringequals" and not condition.if_exists and not condition.quantifier
        if exact and condition.key == key.lower():
            return condition.values
    return ()


# --- Shared reading
# ------------------------------------------------------------------------------------------------------


def _denies_everyone(deny: Statement, action: str) -> bool:
    everyone = deny.not_principals is None and deny.is_for_everyone()
    return everyone and any(pattern.lower() in ("*", action) for pattern in deny.actions or ())


def _only_condition_is(statement: Statement, operator: str, key: str, value: str) -> bool:
    if len(statement.conditions) != 1:
        return False
    condition = statement.conditions[0]
    return (condition.operator, condition.key, tuple(v.lower() for v in condition.values)) == (operator, key, (value,))


def _covers_bucket(covered: set[str], bucket: str) -> bool:
    if "*" in covered:
        return True
    for arn in covered:
        name = arn.rpartition(":::")[2]
        if "/" not in name and (not bucket or name == bucket) and (f"{arn}/*" in covered or arn.endswith("*")):
            return True
    return False


def _narrows(condition: Condition) -> bool:
    # IfExists and ForAllValues are true for a request that lacks the key, and negations let everybody else in.
    if condition.if_exists or condition.quantifier == "forallvalues" or condition.operator not in _NARROWING_OPERATORS:
        return False
    if condition.key == "aws:sourceip":
        return condition.operator == "ipaddress" and all(_is_small_network(value) for value in condition.values)
    if condition.key not in _NARROWING or not condition.values:
        return False
    return all(_is_specific(condition.key, value) for value in condition.values)


def _is_specific(key: str, value: str) -> bool:
    if key in ("aws:sourcearn", "aws:principalarn"):
        parts = value.split(":", 5)
        # S3 bucket ARNs carry no account; the bucket's name is then what must be spelled out.
        return len(parts) == 6 and (_ACCOUNT.match(parts[4]) is not None or (parts[2] == "s3" and "*" not in parts[5][:3]))
    return "*" not in value and "?" not in value


def _is_small_network(value: str) -> bool:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 32)


def _is_wild(patterns: tuple[str, ...] | None) -> bool:
    return any(re.fullmatch(r"\*+(:\*+)?", pattern) for pattern in patterns or ())


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
