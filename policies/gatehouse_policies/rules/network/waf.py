"""Rules for AWS WAF web ACLs."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.network_reachability import is_internet
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import is_not_true, is_true
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_CORE_RULE_SET = "AWSManagedRulesCommonRuleSet"
_GROUPS = ("AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesAmazonIpReputationList")
_REDACTED = ("authorization", "cookie", "x-api-key")

# Rules of the core rule set that match legitimate requests to an API: bodies of more than 8 KB,
# URLs with IP addresses, markup in text fields, and clients without a User-Agent header.
_WEBSITE_RULES = (
    *("SizeRestrictions_BODY", "GenericRFI_BODY", "CrossSiteScripting_BODY", "NoUserAgent_HEADER"),
)
_APIS = aws("apigateway.Stage", "appsync.GraphQLApi")
_API_PATH = re.compile(r"/(api|graphql|v\d+)(/|\*|$)", re.IGNORECASE)
_API_HOST = re.compile(r"api[.-]", re.IGNORECASE)


@stack_rule(
    "GH-WAF-001",
    types=aws("wafv2.WebAcl"),
    settings={"requests_max": {"dev": 100_000, "staging": 100_000, "prod": 200_000}},
)
def managed_rules_and_rate_limit_exist(acl: Resource, stack: Stack) -> CheckResults:
    statements = [rule.block("statement") for rule in _rules(acl, stack)]
    managed = [group for each in statements for group in each.blocks("managedRuleGroupStatement")]
    groups = {group.text("name") for group in managed}
    # The core rule set is written for websites and blocks legitimate requests to APIs (GH-WAF-005).
    required = _GROUPS if _protected_apis(acl, stack) else (_CORE_RULE_SET, *_GROUPS)
    for group in required:
        if group not in groups:
            yield f"no rule uses the managed rule group {group}"
    for rule_group in managed:
        if rule_group.text("name") in required and _selects_requests(rule_group):
            yield (
                f"{rule_group.path_of('scopeDownStatement')} limits the rule group to some requests"
            )
    limited = [rate for each in statements for rate in each.blocks("rateBasedStatement")]
    if not limited:
        yield "no rule has a rateBasedStatement"
    elif all(map(_selects_requests, limited)):
        yield "every rateBasedStatement has a scopeDownStatement, so other requests are not limited"
    for statement in limited:
        if statement.number("limit") > acl.settings["requests_max"]:
            yield f"{statement.path_of('limit')} is above {acl.settings['requests_max']:g} requests"


@stack_rule("GH-WAF-005", types=aws("wafv2.WebAcl"))
def core_rule_set_does_not_block_apis(acl: Resource, stack: Stack) -> CheckResults:
    apis = _protected_apis(acl, stack)
    if not apis:
        return
    for rule in _rules(acl, stack):
        group = rule.block("statement").block("managedRuleGroupStatement")
        if (
            group.text("name") != _CORE_RULE_SET
            or rule.block("overrideAction").has("count")
            or group.has("scopeDownStatement")
        ):
            continue
        counted = {
            item.text("name")
            for item in group.blocks("ruleActionOverrides")
            if not item.block("actionToUse").has("block")
        }
        blocking = [name for name in _WEBSITE_RULES if name not in counted]
        if blocking:
            yield f"{group.path} blocks requests to {', '.join(apis)} by {', '.join(blocking)}"


def _rules(acl: Resource, stack: Stack) -> list[Properties]:
    """The rules of a web ACL: its `rules` or, in the form of the API, `ruleJson`, and the resources
    that add a rule.
    """
    rules = [*acl.props.blocks("rules"), *acl.props.json_blocks("ruleJson")]
    for rule in stack.referencing(acl, aws("wafv2.WebAclRule"), "webAclArn"):
        rules.append(rule.props.located(rule.name))
    for item in stack.referencing(acl, aws("wafv2.WebAclRuleGroupAssociation"), "webAclArn"):
        statement = {
            "managedRuleGroupStatement": item.props.value("managedRuleGroup"),
            "ruleGroupReferenceStatement": item.props.value("ruleGroupReference"),
        }
        action: dict[str, object] = {item.props.text("overrideAction", "none"): {}}
        rules.append(Properties({"statement": statement, "overrideAction": action}, item.name))
    return rules


def _selects_requests(statement: Properties) -> bool:
    """True if ordinary requests do not match a scope-down statement."""
    scope = statement.block("scopeDownStatement")
    return bool(scope.names()) and not all(_matches(scope, request) for request in _REQUESTS)


# Ordinary requests: values of the fields that statements inspect.
_HEADERS = {"host": "www.example.com", "user-agent": "Mozilla/5.0"}
_REQUESTS: tuple[dict[str, str], ...] = (
    {"method": "GET", "uriPath": "/k3x9v7", "queryString": "", "body": "", **_HEADERS},
    {"method": "POST", "uriPath": "/q8/w2z5", "queryString": "p=1", "body": "{}", **_HEADERS},
)
_COUNTRIES_MAX = 125
"""Half of the countries. A statement with more of them matches most requests."""
_COMPARISONS = {
    **{"EQ": operator.eq, "NE": operator.ne, "LE": operator.le},
    **{"LT": operator.lt, "GE": operator.ge, "GT": operator.gt},
}
_POSITIONS: dict[str, Callable[[str, str], bool]] = {
    "EXACTLY": str.__eq__,
    "STARTS_WITH": str.startswith,
    "ENDS_WITH": str.endswith,
}


def _matches(statement: Properties, request: Mapping[str, str]) -> bool:
    """True if an ordinary request matches the statement. It comes from no listed address or
    country, and has no labels.
    """
    for name, combine in (("andStatement", all), ("orStatement", any)):
        if statement.has(name):
            inner = statement.block(name).blocks("statements")
            return combine(_matches(each, request) for each in inner)
    if statement.has("notStatement"):
        return not _matches(statement.block("notStatement").block("statement"), request)
    if statement.has("geoMatchStatement"):
        return statement.block("geoMatchStatement").size("countryCodes") > _COUNTRIES_MAX
    for name in ("byteMatchStatement", "regexMatchStatement", "sizeConstraintStatement"):
        if statement.has(name) and statement.block(name).names():
            return _matches_field(statement.block(name), request)
    return False


def _matches_field(statement: Properties, request: Mapping[str, str]) -> bool:
    field = statement.block("fieldToMatch")
    key = next(iter(field.names()), "")
    key = field.block(key).text("name").lower() if key == "singleHeader" else key
    value = request.get(key, "")
    if statement.has("comparisonOperator"):
        compare = _COMPARISONS[statement.text("comparisonOperator")]
        return bool(compare(len(value), statement.number("size")))
    if statement.has("regexString"):
        return re.search(statement.text("regexString"), value) is not None
    position = _POSITIONS.get(statement.text("positionalConstraint"), str.__contains__)
    return position(value, statement.text("searchString"))


def _selects_some(statement: Properties, *kinds: str) -> bool:
    """True if a statement requires one of some kinds of statements."""
    for name, combine in (("andStatement", any), ("orStatement", all)):
        if statement.has(name):
            inner = statement.block(name).blocks("statements")
            return combine(_selects_some(each, *kinds) for each in inner)
    return any(map(statement.has, kinds))


def _protected_apis(acl: Resource, stack: Stack) -> list[str]:
    """Names of the APIs to which a web ACL is associated: stages of API Gateway, AppSync, and
    listener rules of load balancers with the path or the host name of an API."""
    apis = []
    for association in stack.referencing(acl, aws("wafv2.WebAclAssociation"), "webAclArn"):
        apis += stack.referenced_by(association, "resourceArn", _APIS)
        for balancer in stack.referenced_by(association, "resourceArn", aws("lb.LoadBalancer")):
            for listener in stack.referencing(balancer, aws("lb.Listener"), "loadBalancerArn"):
                rules = stack.referencing(listener, aws("lb.ListenerRule"), "listenerArn")
                apis += [rule for rule in rules if _is_api_route(rule)]
    return [api.name for api in apis]


def _is_api_route(rule: Resource) -> bool:
    return any(
        pattern.match(value)
        for condition in rule.props.blocks("conditions")
        for name, pattern in (("pathPattern", _API_PATH), ("hostHeader", _API_HOST))
        for value in condition.block(name).texts("values")
    )


@stack_rule("GH-WAF-002", types=aws("wafv2.WebAcl"))
def logging_redacts_credentials(acl: Resource, stack: Stack) -> CheckResults:
    configurations = stack.referencing(acl, aws("wafv2.WebAclLoggingConfiguration"), "resourceArn")
    if not configurations:
        yield "the web ACL has no logging configuration"
    for configuration in configurations:
        fields = configuration.props.blocks("redactedFields")
        redacted = {field.block("singleHeader").text("name").lower() for field in fields}
        for header in _REDACTED:
            if header not in redacted:
                yield f"the header {header} is not redacted in {configuration.name}"
        if _drops_blocked_requests(configuration.props.block("loggingFilter")):
            yield f"the loggingFilter of {configuration.name} drops blocked requests"


def _drops_blocked_requests(logging_filter: Properties) -> bool:
    """True if a filter drops all blocked requests, or if the default drops them and no filter keeps
    them.
    """
    behaviors = set()
    for row in logging_filter.blocks("filters"):
        blocked = [
            condition.block("actionCondition").text("action") == "BLOCK"
            for condition in row.blocks("conditions")
        ]
        if any(blocked) if row.text("requirement") == "MEETS_ANY" else all(blocked):
            behaviors.add(row.text("behavior"))
    default = logging_filter.text("defaultBehavior")
    return "DROP" in behaviors or (default == "DROP" and "KEEP" not in behaviors)


metrics_are_enabled = resource_rule(
    "GH-WAF-003", types=aws("wafv2.WebAcl", "wafv2.WebAclRule", "wafv2.RuleGroup")
).requires(
    is_true("visibilityConfig.cloudwatchMetricsEnabled"),
    *(
        is_true(f"{rules}[].visibilityConfig.cloudwatchMetricsEnabled")
        for rules in ("rules", "ruleJson", "rulesJson")
    ),
)


def _protects_headers(acl: Resource) -> bool:
    """True if data protection hashes or replaces all headers that contain credentials. Without
    keys, it applies to all headers.

    https://docs.aws.amazon.com/waf/latest/APIReference/API_FieldToProtect.html
    """
    protections = acl.props.block("dataProtectionConfig").blocks("dataProtections")
    fields = [protection.block("field") for protection in protections]
    keys = [
        field.texts("fieldKeys") for field in fields if field.text("fieldType") == "SINGLE_HEADER"
    ]
    return [] in keys or {name.lower() for names in keys for name in names}.issuperset(_REDACTED)


samples_contain_no_credentials = resource_rule("GH-WAF-006", types=aws("wafv2.WebAcl")).requires(
    *(
        is_not_true(f"{rules}visibilityConfig.sampledRequestsEnabled")
        for rules in ("", "rules[].", "ruleJson[].")
    ),
    when=lambda acl: not _protects_headers(acl),
)


@stack_rule("GH-WAF-004", types=aws("wafv2.WebAcl"))
def rules_do_not_count_only(acl: Resource, stack: Stack) -> CheckResults:
    rules = _rules(acl, stack)
    # Another rule can block requests with the label of a counted rule. A label ends with the name
    # of its rule, sometimes in different case: SizeRestrictions_BODY adds SizeRestrictions_Body
    # (WAF developer guide, "Core rule set (CRS) managed rule group").
    blocked = {
        label.rpartition(":")[2].lower()
        for rule in rules
        if rule.block("action").has("block")
        for label in _labels(rule.block("statement"))
    }
    last = max((rule.number("priority") for rule in rules), default=0)
    allows = [rule.block("statement") for rule in rules if rule.block("action").has("allow")]
    if any(statement.has("ipSetReferenceStatement") for statement in allows):
        for ip_set in stack.referenced_by(acl, "rules", aws("wafv2.IpSet")):
            if is_internet(*ip_set.props.texts("addresses")):
                yield f"the allowed addresses of {ip_set.name} contain the internet"
    for rule in rules:
        for name in ("action", "overrideAction"):
            if rule.block(name).has("count"):
                yield f"{rule.path_of(name)} is count"
        # Clients with known addresses, and requests with the label of a rule, may be exceptions.
        known = _selects_some(
            rule.block("statement"), "ipSetReferenceStatement", "labelMatchStatement"
        )
        if rule.block("action").has("allow") and not known and rule.number("priority") < last:
            yield f"{rule.path_of('action')} {_ALLOW}"
        for name in ("managedRuleGroupStatement", "ruleGroupReferenceStatement"):
            yield from _check_overrides(rule.block("statement").block(name), blocked)


_ALLOW = "is allow, so no later rule evaluates the request"


def _check_overrides(group: Properties, blocked: set[str]) -> CheckResults:
    for override in group.blocks("ruleActionOverrides"):
        action = override.block("actionToUse")
        if action.has("count") and override.text("name").lower() not in blocked:
            yield f"{action.path} is count"
        if action.has("allow"):
            yield f"{action.path} {_ALLOW}"
    # An older form of the action count.
    for excluded in group.blocks("excludedRules"):
        if excluded.text("name").lower() not in blocked:
            yield f"{excluded.path} is counted"


def _labels(statement: Properties) -> Iterator[str]:
    """Keys of the labels that a statement requires. Labels in a notStatement are excluded."""
    if statement.has("labelMatchStatement"):
        yield statement.block("labelMatchStatement").text("key")
    for name in ("andStatement", "orStatement"):
        for inner in statement.block(name).blocks("statements"):
            yield from _labels(inner)
