"""Rules for Elastic Load Balancing: listeners, load balancer attributes and target groups."""

import re
from collections.abc import Iterable
from functools import partial

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import has_format, is_exactly, is_not, is_true
from gatehouse_policies.engine.rule import (
    CheckResults,
    Severity,
    Violation,
    levels,
    resource_rule,
    stack_rule,
)

_GUIDE = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application"
_balancer_rule = partial(resource_rule, types=aws("lb.LoadBalancer"))
_listener_rule = partial(resource_rule, types=aws("lb.Listener"))
_ATTRIBUTES = f"{_GUIDE}/edit-load-balancer-attributes.html"

# Attributes of a listener that set or remove response headers.
_HSTS = "routingHttpResponseStrictTransportSecurityHeaderValue"
_CONTENT_TYPE = "routingHttpResponseXContentTypeOptionsHeaderValue"
_FRAME = "routingHttpResponseXFrameOptionsHeaderValue"
_SERVER = "routingHttpResponseServerEnabled"
_YEAR_S = 31_536_000

# Policies for TLS 1.2 and 1.3 or for 1.3 only, including restricted, FIPS and post-quantum
# variants, but not the Ext variants, which add older ciphers.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
_STRONG_POLICY = r"ELBSecurityPolicy-TLS13-1-[23](-Res)?(-FIPS)?(-PQ)?-\d{4}-\d{2}"


def _is_application_load_balancer(balancer: Resource) -> bool:
    return balancer.props.text("loadBalancerType", "application") == "application"


@_listener_rule(
    "GH-ALB-001",
    title="HTTP listeners redirect to HTTPS",
    remedy=(
        'set every defaultAction of the HTTP listener to a redirect with protocol="HTTPS" '
        'and statusCode="HTTP_301"'
    ),
    severity=Severity.HIGH,
    upstream="ELB.1 ELB.18 CKV2_AWS_20 CKV_AWS_2 elbv2_ssl_listeners",
    url=f"{_GUIDE}/create-http-listener.html",
)
def http_redirects_to_https(listener: Resource) -> CheckResults:
    # The provider's default is HTTP. Network Load Balancers set other protocols.
    if listener.props.text("protocol", "HTTP") != "HTTP":
        return
    actions = listener.props.blocks("defaultActions")
    yield from _without_redirect(actions, "an HTTP listener")
    if not actions:
        yield "the HTTP listener has no default action"


@stack_rule(
    "GH-ALB-011",
    title="Rules of HTTP listeners redirect to HTTPS",
    rationale=(
        "A rule takes precedence over the default action. A rule that forwards serves "
        "requests in clear text."
    ),
    remedy=(
        'set every action of the rule to a redirect with protocol="HTTPS", or move the rule '
        "to the HTTPS listener"
    ),
    severity=Severity.HIGH,
    types=aws("lb.ListenerRule"),
    url=f"{_GUIDE}/listener-rules.html",
)
def rules_of_http_listeners_redirect(rule: Resource, stack: Stack) -> CheckResults:
    listeners = stack.referenced_by(rule, "listenerArn", aws("lb.Listener"))
    if not any(listener.props.text("protocol", "HTTP") == "HTTP" for listener in listeners):
        return
    yield from _without_redirect(rule.props.blocks("actions"), "a rule of an HTTP listener")


def _without_redirect(actions: Iterable[Properties], holder: str) -> CheckResults:
    for action in actions:
        if (
            action.text("type") != "redirect"
            or action.block("redirect").text("protocol") != "HTTPS"
        ):
            yield f"{action.path} of {holder} does not redirect to HTTPS"


# Ports of protocols without encryption: FTP, Telnet, SMTP, HTTP, POP3, IMAP, LDAP, MQTT and the
# alternative ports of HTTP.
_PLAINTEXT_PORTS = ("21", "23", "25", "80", "110", "143", "389", "1883", "8000", "8080")


@stack_rule(
    "GH-ALB-012",
    title=(
        "Internet-facing Network Load Balancers do not use TCP listeners for protocols "
        "without encryption"
    ),
    rationale=(
        "A TCP listener forwards the bytes of the client. On the port of a plaintext "
        "protocol, they are unencrypted."
    ),
    remedy=(
        'set protocol="TLS" with a certificate, or use a port of an encrypted protocol, such as 443'
    ),
    severity=Severity.HIGH,
    types=aws("lb.Listener"),
    lists={"ports": _PLAINTEXT_PORTS},
    url="https://docs.aws.amazon.com/elasticloadbalancing/latest/network/create-tls-listener.html",
)
def tcp_listeners_use_encrypted_protocols(listener: Resource, stack: Stack) -> CheckResults:
    if listener.props.text("protocol", "HTTP") not in ("TCP", "TCP_UDP"):
        return
    balancers = stack.referenced_by(listener, "loadBalancerArn", aws("lb.LoadBalancer"))
    if balancers and all(balancer.props.flag("internal") for balancer in balancers):
        return
    if listener.props.text("port") in listener.lists["ports"]:
        yield f"the TCP listener uses port {listener.props.text('port')}"


tls_policy_is_current = _listener_rule(
    "GH-ALB-002",
    title="HTTPS listeners accept TLS 1.2 and 1.3 only",
    rationale=(
        "The provider's default policy, ELBSecurityPolicy-2016-08, accepts TLS 1.0 and "
        "weak ciphers."
    ),
    severity=Severity.HIGH,
    upstream=(
        "ELB.17 CKV_AWS_103 CKV2_AWS_74 elbv2_insecure_ssl_ciphers elbv2_listener_pqc_tls_enabled"
    ),
    url=f"{_GUIDE}/describe-ssl-policies.html",
).requires(
    has_format(
        "sslPolicy",
        _STRONG_POLICY,
        example="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        message="accepts protocols older than TLS 1.2 or ciphers without forward secrecy",
    ),
    when=lambda listener: listener.props.text("protocol", "HTTP") in ("HTTPS", "TLS"),
)


invalid_headers_are_dropped = _balancer_rule(
    "GH-ALB-003",
    title="Application Load Balancers drop invalid header fields",
    levels=levels("M", "M", "M"),
    upstream="ELB.4 CKV_AWS_131 elbv2_alb_drop_invalid_header_fields_enabled",
    url=_ATTRIBUTES,
).requires(is_true("dropInvalidHeaderFields"), when=_is_application_load_balancer)


access_logging_is_enabled = _balancer_rule(
    "GH-ALB-004",
    title="Load balancers have access logging enabled",
    upstream="ELB.5 4.10 CKV_AWS_91 elbv2_logging_enabled ELB2",
    url=f"{_GUIDE}/load-balancer-access-logs.html",
).requires(is_true("accessLogs.enabled"))


deletion_protection_is_enabled = _balancer_rule(
    "GH-ALB-005",
    title="Load balancers have deletion protection enabled",
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream="ELB.6 CKV_AWS_150 elbv2_deletion_protection",
    url=_ATTRIBUTES,
).requires(is_true("enableDeletionProtection"))


desync_mitigation_is_enabled = _balancer_rule(
    "GH-ALB-006",
    title="Application Load Balancers use defensive or strictest desync mitigation",
    levels=levels("M", "M", "M"),
    upstream="ELB.12 CKV_AWS_328 elbv2_desync_mitigation_mode",
    url=f"{_GUIDE}/edit-load-balancer-attributes.html#desync-mitigation-mode",
).requires(
    is_exactly(
        "desyncMitigationMode",
        "defensive",
        "strictest",
        default="defensive",
        message="is neither defensive nor strictest",
    ),
    when=_is_application_load_balancer,
)


@_balancer_rule(
    "GH-ALB-007",
    title="Load balancers use at least two Availability Zones",
    remedy="specify subnets in at least two Availability Zones",
    pack="resilience",
    settings={"zones_min": {"dev": 2, "staging": 2, "prod": 2}},
    upstream="ELB.13 elbv2_is_in_multiple_az",
    url=f"{_GUIDE}/application-load-balancers.html#load-balancer-subnets",
)
def load_balancer_spans_zones(balancer: Resource) -> CheckResults:
    count = max(balancer.props.size("subnets"), balancer.props.size("subnetMappings"))
    if count < balancer.settings["zones_min"]:
        yield f"the load balancer has fewer than {balancer.settings['zones_min']:g} subnets"


@stack_rule(
    "GH-ALB-008",
    title="Internet-facing load balancers have a web ACL that fails closed",
    remedy="add an aws.wafv2.WebAclAssociation for the load balancer and remove enableWafFailOpen",
    severity=Severity.HIGH,
    types=aws("lb.LoadBalancer"),
    levels=levels("A", "M", "M"),
    upstream="ELB.16 CKV2_AWS_28 elbv2_waf_acl_attached",
    url="https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-associating-aws-resource.html",
)
def web_acl_is_associated(balancer: Resource, stack: Stack) -> CheckResults:
    if balancer.props.flag("internal") or not _is_application_load_balancer(balancer):
        return
    if not stack.referencing(balancer, aws("wafv2.WebAclAssociation"), "resourceArn"):
        yield "no web ACL is associated with this load balancer"
    if balancer.props.flag("enableWafFailOpen"):
        yield "enableWafFailOpen is true, so requests pass while AWS WAF is unavailable"


@resource_rule(
    "GH-ALB-009",
    title="Target groups have a health check path and use TLS",
    rationale=(
        "Without a health check path, unhealthy targets can receive traffic. HTTP traffic to "
        "targets is unencrypted. Load balancers do not validate the certificates of targets, so a "
        "self-signed certificate that the target creates is sufficient. TLS then prevents "
        "eavesdropping in the VPC, but not impersonation of a target."
    ),
    remedy=(
        'set healthCheck with a path, and protocol="HTTPS" on the target group and its health check'
    ),
    types=aws("lb.TargetGroup"),
    # "The load balancer does not validate these certificates":
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
    levels=levels("A", "A", "M"),
    settings={"tls_required": {"dev": 0, "staging": 0, "prod": 1}},
    upstream="ELB.22 CKV_AWS_261 CKV_AWS_378",
    url=f"{_GUIDE}/target-group-health-checks.html",
)
def targets_have_health_check_and_tls(group: Resource) -> CheckResults:
    if group.props.text("targetType") == "lambda":
        return
    health = group.props.block("healthCheck")
    web = group.props.text("protocol") in ("HTTP", "HTTPS")
    if not health.flag("enabled", group.props.has("healthCheck")) or (
        web and not health.has("path")
    ):
        yield "healthCheck has no path"
    if group.settings["tls_required"] and group.props.text("protocol") in ("HTTP", "TCP"):
        yield "protocol does not use TLS"


@_listener_rule(
    "GH-ALB-010",
    title="HTTPS listeners add security headers to every response",
    remedy="set the listener attribute named in the message",
    severity=Severity.LOW,
    levels=levels("A", "A", "M"),
    url=f"{_GUIDE}/header-modification.html",
)
def responses_have_security_headers(listener: Resource) -> CheckResults:
    props = listener.props
    if props.text("protocol", "HTTP") != "HTTPS":
        return
    age = re.search(r"max-age=(\d+)", props.text(_HSTS))
    if age is None or int(age[1]) < _YEAR_S:
        yield Violation(
            f"max-age in {_HSTS} is shorter than one year",
            f'set {_HSTS}="max-age={_YEAR_S}; includeSubDomains"',
        )
    if props.text(_CONTENT_TYPE).lower() != "nosniff":
        yield Violation(f"{_CONTENT_TYPE} is not nosniff", f'set {_CONTENT_TYPE}="nosniff"')
    if props.text(_FRAME).upper() not in ("DENY", "SAMEORIGIN"):
        yield Violation(f"{_FRAME} is neither DENY nor SAMEORIGIN", f'set {_FRAME}="DENY"')
    if props.flag(_SERVER, True):
        yield Violation(f"{_SERVER} is not false", f"set {_SERVER}=False")


client_addresses_are_not_preserved = _balancer_rule(
    "GH-ALB-013",
    title="Internet-facing Application Load Balancers set X-Forwarded-For themselves",
    rationale=(
        "With the mode preserve, a client chooses the IP address that applications use "
        "for rate limits and audit events."
    ),
    url=f"{_GUIDE}/x-forwarded-headers.html",
).requires(
    is_not("xffHeaderProcessingMode", "preserve"),
    # CloudFront sets the header for an internal load balancer behind a VPC origin.
    when=lambda balancer: (
        _is_application_load_balancer(balancer) and not balancer.props.flag("internal")
    ),
)
