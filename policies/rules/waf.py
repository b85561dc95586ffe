"""Rules for AWS WAF web ACLs."""

from collections.abc import Iterator, Sequence
from functools import partial

from policies.analysis.properties import Properties
from policies.analysis.resources import Resource, Stack
from policies.analysis.type_tokens import aws
from policies.engine.rule import CheckResults, SetInput, Severity, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/waf/latest/developerguide"
_web_acl_rule = partial(resource_rule, types=aws("wafv2.WebAcl"))
_GROUPS = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesAmazonIpReputationList")
_REDACTED = ("authorization", "cookie", "x-api-key")


@_web_acl_rule(
    "GH-WAF-001",
    title="Web ACLs use AWS managed rule groups and a rate-based rule",
    rationale="Managed rule groups block common attacks. A rate-based rule limits brute-force attacks.",
    remedy="add the managed rule groups Common, KnownBadInputs and AmazonIpReputation, and a rateBasedStatement",
    severity=Severity.HIGH,
    levels=levels("A", "M", "M"),
    upstream="WAF.10 CKV_AWS_192 CKV2_AWS_76 wafv2_webacl_with_rules",
    url=f"{_GUIDE}/aws-managed-rule-groups-list.html",
)
def managed_rules_and_rate_limit_exist(acl: Resource) -> CheckResults:
    statements = [rule.block("statement") for rule in acl.props.blocks("rules")]
    managed = [statement for statement in statements if statement.has("managedRuleGroupStatement")]
    groups = {statement.block("managedRuleGroupStatement").text("name") for statement in managed}
    for group in _GROUPS:
        if group not in groups:
            yield f"no rule uses the managed rule group {group}"
    if not any(statement.has("rateBasedStatement") for statement in statements):
        yield "no rule has a rateBasedStatement"


@stack_rule(
    "GH-WAF-002",
    title="Web ACLs have logging enabled and redact credentials",
    rationale="Without redaction, the log contains the API keys and cookies of all requests.",
    remedy="add a WebAclLoggingConfiguration with redactedFields for the headers authorization, cookie and x-api-key",
    severity=Severity.HIGH,
    types=aws("wafv2.WebAcl"),
    levels=levels("A", "M", "M"),
    upstream="WAF.11 CKV2_AWS_31 wafv2_webacl_logging_enabled",
    url=f"{_GUIDE}/logging-management.html",
)
def logging_redacts_credentials(acl: Resource, stack: Stack) -> CheckResults:
    configurations = stack.referencing(acl, aws("wafv2.WebAclLoggingConfiguration"), "resourceArn")
    if not configurations:
        yield "the web ACL has no logging configuration"
    for configuration in configurations:
        headers = (field.block("singleHeader") for field in configuration.props.blocks("redactedFields"))
        redacted = {header.text("name").lower() for header in headers}
        for header in _REDACTED:
            if header not in redacted:
                yield f"the header {header} is not redacted in {configuration.name}"


@_web_acl_rule(
    "GH-WAF-003",
    title="Web ACLs and their rules have CloudWatch metrics enabled",
    rationale="Metrics reveal attacks and rules that block legitimate requests.",
    remedy="set visibilityConfig.cloudwatchMetricsEnabled=True on the web ACL and on each rule",
    severity=Severity.LOW,
    pack="resilience",
    upstream="WAF.12 wafv2_webacl_rule_logging_enabled",
    url=f"{_GUIDE}/monitoring-cloudwatch.html",
    remediation=(
        SetInput("visibilityConfig.cloudwatchMetricsEnabled", True),
        SetInput("rules[].visibilityConfig.cloudwatchMetricsEnabled", True),
    ),
)
def metrics_are_enabled(acl: Resource) -> CheckResults:
    for block in (acl.props, *acl.props.blocks("rules")):
        visibility = block.block("visibilityConfig")
        if not visibility.flag("cloudwatchMetricsEnabled"):
            yield f"{visibility.path}.cloudwatchMetricsEnabled is not true"


@_web_acl_rule(
    "GH-WAF-004",
    title="Web ACL rules do not use the count action",
    rationale="Rules with the count action do not block requests.",
    remedy="remove the count action, or exempt the resource during a trial",
    levels=levels("-", "A", "M"),
    url=f"{_GUIDE}/web-acl-testing.html",
)
def rules_do_not_count_only(acl: Resource) -> CheckResults:
    rules = acl.props.blocks("rules")
    for rule in rules:
        for name in ("action", "overrideAction"):
            if rule.block(name).has("count"):
                yield f"{rule.path_of(name)} is count"
        group = rule.block("statement").block("managedRuleGroupStatement")
        for override in group.blocks("ruleActionOverrides"):
            if override.block("actionToUse").has("count") and not _is_blocked_by_label(override.text("name"), rules):
                yield f"{override.path_of('actionToUse')} is count"


def _is_blocked_by_label(counted: str, rules: Sequence[Properties]) -> bool:
    """True if another rule blocks requests with the label of the counted rule. Those requests are therefore still blocked.

    A label ends with the name of its rule, sometimes in different case: SizeRestrictions_BODY adds SizeRestrictions_Body
    (WAF developer guide, "Core rule set (CRS) managed rule group").
    """
    blocking = (rule.block("statement") for rule in rules if rule.block("action").has("block"))
    return any(label.rpartition(":")[2].lower() == counted.lower() for statement in blocking for label in _labels(statement))


def _labels(statement: Properties) -> Iterator[str]:
    """Keys of the labels that a statement requires. Labels in a notStatement are excluded."""
    if statement.has("labelMatchStatement"):
        yield statement.block("labelMatchStatement").text("key")
    for name in ("andStatement", "orStatement"):
        for inner in statement.block(name).blocks("statements"):
            yield from _labels(inner)
