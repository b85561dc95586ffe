"""The AWS WAF web ACLs of the load balancer, of REST APIs and of a CloudFront distribution."""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import log_delivery_policy
from components.naming import CLOUDFRONT_REGION, Naming, tags
from components.settings.workloads import CONSOLE

IP_REPUTATION = "ip-reputation"
MANAGED = {
    IP_REPUTATION: "AWSManagedRulesAmazonIpReputationList",
    "common": "AWSManagedRulesCommonRuleSet",
    "known-bad-inputs": "AWSManagedRulesKnownBadInputsRuleSet",
}
CORE_RULE_SET, KNOWN_BAD_INPUTS = (
    "awswaf:managed:aws:core-rule-set",
    "awswaf:managed:aws:known-bad-inputs",
)
SIZE_RULES = {"SizeRestrictions_BODY": f"{CORE_RULE_SET}:SizeRestrictions_Body"}
CONTENT_RULES = {
    "NoUserAgent_HEADER": f"{CORE_RULE_SET}:NoUserAgent_Header",
    "RestrictedExtensions_URIPATH": f"{CORE_RULE_SET}:RestrictedExtensions_URIPath",
    **{
        f"{name}_BODY": f"{CORE_RULE_SET}:{name}_Body"
        for name in ("EC2MetaDataSSRF", "GenericLFI", "GenericRFI", "CrossSiteScripting")
    },
    "PROPFIND_METHOD": f"{KNOWN_BAD_INPUTS}:Propfind_Method",
    **{
        f"{name}_BODY": f"{KNOWN_BAD_INPUTS}:{name}_Body"
        for name in ("JavaDeserializationRCE", "Log4JRCE", "ReactJSRCE")
    },
}
QUERY_RULES = {
    "SizeRestrictions_QUERYSTRING": f"{CORE_RULE_SET}:SizeRestrictions_QueryString",
    **{
        f"{name}_QUERYARGUMENTS": f"{CORE_RULE_SET}:{name}_QueryArguments"
        for name in (
            "EC2MetaDataSSRF",
            "GenericLFI",
            "RestrictedExtensions",
            "GenericRFI",
            "CrossSiteScripting",
        )
    },
}
"""Rules of the managed rule groups that match legal requests to an API, with their labels. The rule
groups count them, and `_block_labels` blocks the labeled requests that no API receives.
Source: AWS WAF Developer Guide, "Baseline rule groups"."""
_NAMESPACES = {"common": CORE_RULE_SET, "known-bad-inputs": KNOWN_BAD_INPUTS}
COUNTED_RULES = {**SIZE_RULES, **CONTENT_RULES, **QUERY_RULES}
API_PATHS = {
    "gateway": "^/",
    "console": "^/(v1|portal)/",
    "sharing": "^/($|s/|r/|v1/links/|v1/requests/)",
}
"""Paths of each service at which text fields, URLs of Cores and webhooks, secrets and requests to
Cores are arbitrary text, which can look like an attack. The expressions, like the routes of the
services, match the path as sent."""
QUERY_PATHS = {"gateway": "^/", "console": "^/"}
"""Paths of each service at which query strings contain arbitrary text: requests to Cores, filters
of lists, paths of files, and the response of an identity provider."""
Rule = aws.wafv2.WebAclRuleArgsDict
Statement = aws.wafv2.WebAclRuleStatementArgsDict
RedactedField = aws.wafv2.WebAclLoggingConfigurationRedactedFieldArgsDict
REDACTED_HEADERS = (
    *("authorization", "cookie", "x-api-key", "api-key", "ocp-apim-subscription-key"),
    *("private-token", "x-access-token", "x-auth-token", "x-gatehouse-key", "x-goog-api-key"),
)
"""Headers that contain API keys and session cookies. The log redacts these headers."""


def _redacted_fields() -> list[RedactedField]:
    """Return the parts of a request that the log omits. A query string can contain the code of a
    sign-in, or an API key that a client sends by mistake."""
    fields: list[RedactedField] = [
        {"single_header": {"name": header}} for header in REDACTED_HEADERS
    ]
    return [*fields, {"query_string": {}}]


class WebAcl(StackComponent):
    """A web ACL with managed rule groups, rate limits by IP address for all services and for
    individual services, the networks that can reach the console, and a log without credentials.

    Why: Known attacks and floods are blocked before they reach a task; limits per API key are
    applied by the gateway. The core rule set is written for websites. It blocks legal requests to
    an API: URLs with IP addresses, files with the extension .log, bodies of more than 8 KB, clients
    without a User-Agent header. Requests to Cores are arbitrary, so the rule set does not apply to
    the gateway. At the APIs of the console and of secret sharing, its rules for bodies, query
    strings and clients do not block. The signatures of known exploits in paths, headers and query
    strings apply everywhere. The synthetic probe and the smoke test request the health checks, and
    use the canary key, from shared addresses of AWS, so the reputation of an address does not block
    these requests, and the network of an address does not block health checks.

    hosts: Host name of each service, and the wildcard name of the Cores for the gateway.
    protected_arns: Load balancer and stages of REST APIs, keyed by resource name; empty for a web
        ACL of a distribution.
    log_bucket_arn: Bucket for the log of a web ACL of a distribution. A log group would have to be
        in CLOUDFRONT_REGION.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        hosts: Mapping[str, Sequence[str]],
        opts: pulumi.ResourceOptions,
        *,
        logs_key_arn: pulumi.Input[str],
        protected_arns: Mapping[str, pulumi.Input[str]],
        log_bucket_arn: pulumi.Input[str] | None = None,
    ) -> None:
        super().__init__(name, stack, opts)
        names, waf = self.names, self.settings.waf
        region = CLOUDFRONT_REGION if log_bucket_arn else None
        limits = {
            service: limit
            for service, limit in waf.service_requests_max().items()
            if service in hosts
        }
        metrics = _at_metrics()
        if wildcards := [host for service in hosts.values() for host in service if "*" in host]:
            metrics = {"and_statement": {"statements": [metrics, _not(_at_host(wildcards))]}}
        self._region, self._scope = region, "CLOUDFRONT" if region else "REGIONAL"
        edge = "cloudfront" if region else "edge"
        networks = waf.console_networks if CONSOLE in hosts else ()
        ip_sets = self._ip_sets(name, names.name(f"{edge}-console"), networks)
        health = _at_path(
            {path for one in self.contract.services.values() for path in (one.health, one.ready)}
        )
        probed = health
        if "gateway" in hosts:
            gateway = self.contract.services["gateway"]
            paths = _at_path({gateway.protected, gateway.echo})
            canary = {"and_statement": {"statements": [_at_host(hosts["gateway"]), paths]}}
            probed = _any([health, canary])
        acl = aws.wafv2.WebAcl(
            name,
            name=names.name(edge),
            description=f"Protects these services: {', '.join(hosts)}",
            scope=self._scope,
            region=region,
            default_action={"allow": {}},
            rules=[
                _rate_limit(names, 0, "rate", waf.requests_max),
                _block(names, 1, "metrics", metrics, 404),
                *(
                    _rate_limit(names, 2 + index, f"rate-{service}", limit, hosts[service])
                    for index, (service, limit) in enumerate(limits.items())
                ),
                *([_accept_only(names, hosts[CONSOLE], ip_sets, health)] if ip_sets else []),
                *(
                    _managed_rule_group(names, 10 + index, rule, group, hosts, probed)
                    for index, (rule, group) in enumerate(MANAGED.items())
                ),
                _block_labels(names, 20, "body-size", SIZE_RULES, _at_paths(hosts, API_PATHS), 413),
                _block_labels(
                    names, 21, "content", CONTENT_RULES, _at_paths(hosts, API_PATHS), 403
                ),
                _block_labels(names, 22, "query", QUERY_RULES, _at_paths(hosts, QUERY_PATHS), 403),
            ],
            visibility_config={**_visibility(names.name("edge"))},
            tags=tags("none"),
            opts=self.child,
        )
        for resource, arn in protected_arns.items():
            aws.wafv2.WebAclAssociation(
                resource, resource_arn=arn, web_acl_arn=acl.arn, opts=self.child
            )
        self.arn = acl.arn
        log_destination, log_opts = (
            (log_bucket_arn, self.child) if log_bucket_arn else self._log_group(name, logs_key_arn)
        )
        aws.wafv2.WebAclLoggingConfiguration(
            name,
            region=region,
            resource_arn=self.arn,
            log_destination_configs=[log_destination],
            # Logging every request would cost more than AWS WAF itself. The access log of the load
            # balancer contains all requests.
            logging_filter={
                "default_behavior": "DROP",
                "filters": [
                    {
                        "behavior": "KEEP",
                        "requirement": "MEETS_ANY",
                        "conditions": [
                            {"action_condition": {"action": action}}
                            for action in ("BLOCK", "COUNT")
                        ],
                    }
                ],
            },
            redacted_fields=_redacted_fields(),
            opts=log_opts,
        )
        self.register_outputs({})

    def _ip_sets(
        self, resource: str, name: str, networks: Sequence[str]
    ) -> list[pulumi.Output[str]]:
        """Create an IP set for each IP version of the networks, and return the ARNs."""
        arns = []
        for version in (4, 6):
            addresses = [one for one in networks if ipaddress.ip_network(one).version == version]
            if not addresses:
                continue
            ip_set = aws.wafv2.IpSet(
                f"{resource}-ipv{version}",
                name=f"{name}-ipv{version}",
                description="Networks from which requests to the console are accepted",
                scope=self._scope,
                region=self._region,
                ip_address_version=f"IPV{version}",
                addresses=addresses,
                tags=tags("none"),
                opts=self.child,
            )
            arns.append(ip_set.arn)
        return arns

    def _log_group(
        self, name: str, logs_key_arn: pulumi.Input[str]
    ) -> tuple[pulumi.Output[str], pulumi.ResourceOptions]:
        """Create the log group of a regional web ACL. Returns its ARN, and options for a resource
        that requires its policy.
        """
        group = self.create_log_group(name, self.names.waf_log_group, logs_key_arn)
        if self.settings.existing_resources.log_policies:
            return group.arn, self.child
        groups = self.names.of_stack("*").waf_log_group
        delivery = aws.cloudwatch.LogResourcePolicy(
            name,
            policy_name=self.names.name("waf-delivery"),
            policy_document=render(log_delivery_policy(self.names, "AllowWafLogDelivery", groups)),
            opts=self.child,
        )
        return group.arn, self.after(delivery)


def _visibility(metric: str) -> aws.wafv2.WebAclRuleVisibilityConfigArgsDict:
    # Sampled requests contain headers and therefore credentials.
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }


def _managed_rule_group(
    names: Naming,
    priority: int,
    rule: str,
    group: str,
    hosts: Mapping[str, Sequence[str]],
    probed: Any,
) -> Rule:
    """Apply a managed rule group with its default actions, except that the rules in COUNTED_RULES
    only count and label requests. `_block_labels` blocks the labeled requests. The core rule set
    does not apply to requests to the gateway, and IP_REPUTATION not to the requests `probed`."""
    namespace = _NAMESPACES.get(rule)
    counted = [
        name
        for name, label in COUNTED_RULES.items()
        if namespace and label.startswith(f"{namespace}:")
    ]
    count: Any = [{"name": name, "action_to_use": {"count": {}}} for name in counted]
    excluded = probed if rule == IP_REPUTATION else None
    if namespace == CORE_RULE_SET and "gateway" in hosts:
        excluded = _at_host(hosts["gateway"])
    return {
        "name": rule,
        "priority": priority,
        "statement": {
            "managed_rule_group_statement": {
                "vendor_name": "AWS",
                "name": group,
                "rule_action_overrides": count or None,
                "scope_down_statement": _not(excluded) if excluded else None,
            }
        },
        "override_action": {"none": {}},
        "visibility_config": _visibility(names.name(f"edge-{rule}")),
    }


def _accept_only(
    names: Naming, hosts: Sequence[str], ip_sets: Sequence[pulumi.Output[str]], health: Any
) -> Rule:
    """Block requests to the host names from addresses that are in none of the IP sets, except
    health checks.
    """
    accepted = _any([health, *({"ip_set_reference_statement": {"arn": arn}} for arn in ip_sets)])
    statement: Any = {"and_statement": {"statements": [_at_host(hosts), _not(accepted)]}}
    return _block(names, 5, "console-networks", statement, 403)


def _block_labels(
    names: Naming,
    priority: int,
    rule: str,
    counted: Mapping[str, str],
    allowed: list[Any],
    status: int,
) -> Rule:
    """Block requests with the label of a counted rule, unless one of the statements `allowed`
    matches.
    """
    has_label = _any(
        [{"label_match_statement": {"scope": "LABEL", "key": label}} for label in counted.values()]
    )
    statement: Any = (
        {"and_statement": {"statements": [has_label, _not(_any(allowed))]}}
        if allowed
        else has_label
    )
    return _block(names, priority, rule, statement, status)


def _at_paths(host_names: Mapping[str, Sequence[str]], paths: Mapping[str, str]) -> list[Any]:
    return [
        {
            "and_statement": {
                "statements": [
                    _at_host(host_names[service]),
                    _regex_match({"uri_path": {}}, expression, "NONE"),
                ]
            }
        }
        for service, expression in paths.items()
        if service in host_names
    ]


def _not(statement: Any) -> Any:
    return {"not_statement": {"statement": statement}}


def _any(statements: list[Any]) -> Any:
    """Match if one of the statements matches. AWS WAF requires at least two statements in an
    or_statement.
    """
    return statements[0] if len(statements) == 1 else {"or_statement": {"statements": statements}}


def _rate_limit(
    names: Naming, priority: int, rule: str, requests_max: int, hosts: Sequence[str] = ()
) -> Rule:
    """Limit the number of requests from an IP address in five minutes, to these or to all host
    names.
    """
    rate: aws.wafv2.WebAclRuleStatementRateBasedStatementArgsDict = {
        "limit": requests_max,
        "aggregate_key_type": "IP",
        "evaluation_window_sec": 300,
        "scope_down_statement": _at_host(hosts) if hosts else None,
    }
    return _block(names, priority, rule, {"rate_based_statement": rate}, 429)


def _at_host(hosts: Sequence[str]) -> Any:
    """Match the Host header with or without a port, which a client chooses, case-insensitively."""
    names = "|".join(re.escape(host).replace(r"\*", "[^:]+") for host in hosts)
    return _regex_match({"single_header": {"name": "host"}}, f"^({names})(:[0-9]*)?$", "LOWERCASE")


def _at_path(paths: Collection[str]) -> Any:
    return _regex_match({"uri_path": {}}, f"^({'|'.join(sorted(paths))})$", "NONE")


def _regex_match(field_to_match: dict[str, Any], expression: str, transformation: str) -> Any:
    return {
        "regex_match_statement": {
            "regex_string": expression,
            "field_to_match": field_to_match,
            "text_transformations": [{"priority": 0, "type": transformation}],
        }
    }


def _at_metrics() -> Any:
    """Match paths that begin with /metrics, for any nesting level. pulumi-aws has a separate type
    for each level.
    """
    transformations = ("URL_DECODE", "NORMALIZE_PATH", "LOWERCASE")
    return {
        "byte_match_statement": {
            "search_string": "/metrics",
            "positional_constraint": "STARTS_WITH",
            "field_to_match": {"uri_path": {}},
            "text_transformations": [
                {"priority": index, "type": kind} for index, kind in enumerate(transformations)
            ],
        }
    }


def _block(names: Naming, priority: int, rule: str, statement: Statement, status: int) -> Rule:
    return {
        "name": rule,
        "priority": priority,
        "statement": statement,
        "action": {"block": {"custom_response": {"response_code": status}}},
        "visibility_config": _visibility(names.name(f"edge-{rule}")),
    }
