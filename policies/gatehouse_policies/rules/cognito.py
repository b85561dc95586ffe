"""Rules for Amazon Cognito user pools and identity pools."""

from functools import partial

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    is_at_least,
    is_exactly,
    is_not_true,
    is_true,
    where,
)
from gatehouse_policies.engine.rule import resource_rule

_GUIDE = "https://docs.aws.amazon.com/cognito/latest/developerguide"
_pool_rule = partial(resource_rule, types=aws("cognito.UserPool"))
_REQUIRED = ("requireLowercase", "requireUppercase", "requireNumbers", "requireSymbols")


password_policy_is_strong = _pool_rule(
    "GH-COG-001",
    title="Cognito user pools have a strong password policy",
    remedy=(
        "set passwordPolicy with the minimum length for this environment, and requireLowercase, "
        "requireUppercase, requireNumbers and requireSymbols to True"
    ),
    settings={"length_min": {"dev": 8, "staging": 12, "prod": 12}},
    upstream="Cognito.3 COG1",
    url=f"{_GUIDE}/managing-users-passwords.html",
).requires(
    is_at_least("passwordPolicy.minimumLength", "length_min", 8),
    where(
        lambda pool: bool(pool.props.block("passwordPolicy").names()),
        *(is_true(f"passwordPolicy.{name}") for name in _REQUIRED),
    ),
)


mfa_is_required = _pool_rule(
    "GH-COG-002",
    title="Cognito user pools require multi-factor authentication",
    upstream="COG2",
    url=f"{_GUIDE}/user-pool-settings-mfa.html",
).requires(is_exactly("mfaConfiguration", "ON"))


identity_pool_requires_authentication = resource_rule(
    "GH-COG-003",
    title="Cognito identity pools do not allow unauthenticated identities",
    severity="high",
    types=aws("cognito.IdentityPool"),
    upstream="Cognito.2 CKV_AWS_366 COG7",
    url=f"{_GUIDE}/identity-pools.html",
).requires(is_not_true("allowUnauthenticatedIdentities"))


pool_is_protected = _pool_rule(
    "GH-COG-004",
    title="Cognito user pools have threat protection and deletion protection",
    severity="low",
    levels="-AA",
    upstream="Cognito.1 COG8",
    url=f"{_GUIDE}/cognito-user-pool-settings-threat-protection.html",
).requires(
    is_exactly("userPoolAddOns.advancedSecurityMode", "ENFORCED"),
    is_exactly("deletionProtection", "ACTIVE"),
)
