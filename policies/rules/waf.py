"""Rules about web firewalls: that they see the common attacks, and that what they saw is kept without the keys in
it.
"""

from collections.abc import Iterator, Sequence

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/waf/latest/developerguide"
_GROUPS = (
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesAmazonIpReputationList",
)
_REDACTED = ("authorization", "cookie", "x-api-key")


@resource_rule(
    "GH-WAF-001",
    title="The web firewall knows common attacks and limits rates",
    why="These groups hold the signatures of everyday attacks; a rate rule ends brute force that no signature knows.",
    remedy="add the managed groups Common, KnownBadInputs and AmazonIpReputation, and a rateBasedStatement",
    severity=Severity.HIGH,
    types=tokens.WEB_ACL,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("WAF.10",), checkov=("CKV_AWS_192", "CKV2_AWS_76"), prowler=("wafv2_webacl_with_rules",)),
    url=f"{_GUIDE}/aws-managed-rule-groups-list.html",
)
def common_attacks_are_known(acl: Resource) -> Found:
    statements = [rule.block("statement") for rule in acl.props.blocks("rules")]
    groups = {s.block("managedRuleGroupStatement").text("name") for s in statements if s.has("managedRuleGroupStatement")}
    for group in _GROUPS:
        if group not in groups:
            yield f"no rule uses the managed group {group}"
    if not any(statement.has("rateBasedStatement") for statement in statements):
        yield "no rule limits the rate of requests"


@stack_rule(
    "GH-WAF-002",
    title="The web firewall logs, without credentials",
    why="Its log shows attacks; unless redacted, it also collects every API key and cookie that passed.",
    remedy="add a WebAclLoggingConfiguration with redactedFields for the headers authorization, cookie and x-api-key",
    severity=Severity.HIGH,
    types=tokens.WEB_ACL,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("WAF.11",), checkov=("CKV2_AWS_31",), prowler=("wafv2_webacl_logging_enabled",)),
    url=f"{_GUIDE}/logging-management.html",
)
def attacks_are_logged_without_keys(acl: Resource, stack: Stack) -> Found:
    configurations = stack.users(acl, tokens.WEB_ACL_LOGGING, "resourceArn")
    if not configurations:
        yield "no logging configuration belongs to this web ACL"
    for configuration in configurations:
        redacted = {_header(one) for one in configuration.props.blocks("redactedFields")}
        for header in _REDACTED:
            if header not in redacted:
                yield f"the header {header} is not redacted in {configuration.name}"


def _header(redacted: Props) -> str:
    return redacted.block("singleHeader").text("name").lower()


@resource_rule(
    "GH-WAF-003",
    title="The web firewall counts what it does",
    why="Without metrics nobody sees that a rule blocks customers, or that an attack is on.",
    remedy="set visibilityConfig.cloudwatchMetricsEnabled=True on the web ACL and on each rule",
    severity=Severity.LOW,
    types=tokens.WEB_ACL,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(security_hub=("WAF.12",), prowler=("wafv2_webacl_rule_logging_enabled",)),
    url=f"{_GUIDE}/monitoring-cloudwatch.html",
)
def the_firewall_counts(acl: Resource) -> Found:
    for one in (acl.props, *acl.props.blocks("rules")):
        visibility = one.block("visibilityConfig")
        if not visibility.flag("cloudwatchMetricsEnabled"):
            yield f"{visibility.path}.cloudwatchMetricsEnabled is not true"


@resource_rule(
    "GH-WAF-004",
    title="No rule of the web firewall only counts",
    why="A rule that was set to count for a trial, and forgotten, lets through what it was bought to stop.",
    remedy="remove the count, or exempt it with a date while it is on trial",
    severity=Severity.MEDIUM,
    types=tokens.WEB_ACL,
    levels=levels("-", "A", "M"),
    url=f"{_GUIDE}/web-acl-testing.html",
)
def no_rule_only_counts(acl: Resource) -> Found:
    rules = acl.props.blocks("rules")
    for rule in rules:
        for name in ("action", "overrideAction"):
            if rule.block(name).has("count"):
                yield f"{rule.at(name)} is count"
        group = rule.block("statement").block("managedRuleGroupStatement")
        for override in group.blocks("ruleActionOverrides"):
            if override.block("actionToUse").has("count") and not _acted_on(override.text("name"), rules):
                yield f"{override.at('actionToUse')} is count"


def _acted_on(counted: str, rules: Sequence[Props]) -> bool:
    """Whether another rule blocks by the label that the counted one leaves: so a managed rule is narrowed, not put off.

    A label ends with the rule's name, in another case at times: SizeRestrictions_BODY leaves SizeRestrictions_Body
    (WAF developer guide, "Core rule set (CRS) managed rule group").
    """
    blocking = (rule.block("statement") for rule in rules if rule.block("action").has("block"))
    return any(label.rpartition(":")[2].lower() == counted.lower() for one in blocking for label in _labels(one))


def _labels(statement: Props) -> Iterator[str]:
    """Keys of the labels that a statement asks for; below a "not" it asks for their absence."""
    if statement.has("labelMatchStatement"):
        yield statement.block("labelMatchStatement").text("key")
    for name in ("andStatement", "orStatement"):
        for inner in statement.block(name).blocks("statements"):
            yield from _labels(inner)
