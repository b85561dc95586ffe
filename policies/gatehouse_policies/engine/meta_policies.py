"""Meta policies: controls that evaluate rules and exemptions instead of resources. Every pack
contains its rules and the meta policies."""

from collections.abc import Mapping
from functools import partial

from gatehouse_policies.analysis.resources import ACCOUNTS_PATH, ORGANIZATION_PATH
from gatehouse_policies.engine.rule import Control

_meta_policy = partial(
    Control, types=(), url="https://www.pulumi.com/docs/iac/using-pulumi/crossguard"
)
_notice = partial(_meta_policy, severity="low", levels="AAA")

BROKEN = _meta_policy(
    "GH-BROKEN",
    title="Rules run without errors",
    remedy="correct the function of the rule; the resource is not evaluated until then",
    severity="high",
)
EXEMPTION_USED = _notice(
    "GH-EXEMPT-USED",
    title="Exemptions in use are reported",
    remedy=(
        "bring the resource into compliance before the exemption expires, then remove the exemption"
    ),
)
EXEMPTION_INVALID = _meta_policy(
    "GH-EXEMPT-INVALID",
    title="Exemptions are valid",
    remedy="correct the exemption",
    severity="high",
)
UNDECIDED = _meta_policy(
    "GH-UNDECIDED",
    title="Every rule is decided at preview",
    remedy="use a value that is known at preview",
    levels="AAM",
)
OF_PROGRAM: Mapping[str, str] = {
    ACCOUNTS_PATH: "set allowedAccountIds of the provider, or add the accounts to `accounts` in "
    "policies.toml",
    ORGANIZATION_PATH: "add the organization to `accounts` in policies.toml",
}
"""The fix for what is unknown for a whole program, which is reported once."""
UNDECIDED_ALLOWED = _notice(
    "GH-UNDECIDED-ALLOWED",
    title="Accepted unknown properties are reported",
    remedy=(
        "no action required: the engine evaluates the rule again with the value before it "
        "creates the resource"
    ),
)

UNUSED_REMEDY = "remove the exemption, or correct what it names"
"""The fix for an exemption that no resource uses, which GH-EXEMPT-USED reports too."""

META_POLICIES = (BROKEN, EXEMPTION_USED, EXEMPTION_INVALID, UNDECIDED, UNDECIDED_ALLOWED)
