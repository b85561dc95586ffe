"""Rules for Amazon Cognito user pools and identity pools."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.engine.requirements import is_at_least, is_exactly, is_true, where
from gatehouse_policies.engine.rule import resource_rule

_pool_rule = partial(resource_rule, types=aws("cognito.UserPool"))
_REQUIRED = ("requireLowercase", "requireUppercase", "requireNumbers", "requireSymbols")


password_policy_is_strong = _pool_rule(
    "GH-COG-001", settings={"length_min": {"dev": 8, "staging": 12, "prod": 12}}
).requires(
    is_at_least("passwordPolicy.minimumLength", "length_min", 8),
    where(
        lambda pool: bool(pool.props.block("passwordPolicy").names()),
        *(is_true(f"passwordPolicy.{name}") for name in _REQUIRED),
    ),
)


mfa_is_required = _pool_rule("GH-COG-002").requires(is_exactly("mfaConfiguration", "ON"))


pool_is_protected = _pool_rule("GH-COG-004").requires(
    is_exactly("userPoolAddOns.advancedSecurityMode", "ENFORCED"),
    is_exactly("deletionProtection", "ACTIVE"),
)
