"""Rules for Elastic Load Balancing: listeners, load balancer attributes and target groups."""

import re
from collections.abc import Iterable
from functools import partial

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    has_format,
    is_exactly,
    is_false,
    is_true,
    satisfies,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

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
_STRONG_POLICY = r"ELBSecurityPolicy-TLS13-1-[23](-Res)?(-FIPS)?(-PQ)?-\d{4}-\d{2}"


def _is_application_load_balancer(balancer: Resource) -> bool:
    return balancer.props.text("loadBalancerType", "application") == "application"


def _protocol(resource: Resource, default: str = "HTTP") -> str:
    """The protocol of a listener or a target group, whose case the provider ignores."""
    return resource.props.text("protocol", default).upper()


def _is_public(balancer: Resource, stack: Stack) -> bool:
    """True for an internet-facing load balancer, or one behind AWS Global Accelerator or a public
    Network Load Balancer.

    https://docs.aws.amazon.com/global-accelerator/latest/dg/secure-vpc-connections.html
    """
    groups = aws("globalaccelerator.EndpointGroup")
    if not balancer.props.flag("internal"):
        return True
    return bool(stack.referencing(balancer, groups, "endpointConfigurations")) or any(
        not _is_application_load_balancer(front) and _is_public(front, stack)
        for attachment in stack.referencing(balancer, aws("lb.TargetGroupAttachment"), "targetId")
        for group in stack.referenced_by(attachment, "targetGroupArn", aws("lb.TargetGroup"))
        for listener in stack.referencing(group, aws("lb.Listener"), "defaultActions")
        for front in stack.referenced_by(listener, "loadBalancerArn", aws("lb.LoadBalancer"))
    )


@_listener_rule(
    "GH-ALB-001",
    title="HTTP listeners redirect to HTTPS",
    remedy=(
        'set every defaultAction of the HTTP listener to a redirect with protocol="HTTPS" '
        'and statusCode="HTTP_301"'
    ),
    severity="high",
    upstream="ELB.1 ELB.18 CKV2_AWS_20 CKV_AWS_2",
    url=f"{_GUIDE}/create-http-listener.html",
)
def http_redirects_to_https(listener: Resource) -> CheckResults:
    # The provider's default is HTTP. Network Load Balancers set other protocols, and Gateway Load
    # Balancers neither a protocol nor a port.
    is_gateway = not listener.props.has("protocol") and not listener.props.has("port")
    if _protocol(listener) != "HTTP" or is_gateway:
        return
    actions = listener.props.blocks("defaultActions")
    yield from _without_redirect(actions, "an HTTP listener")
    if not actions:
        yield "the HTTP listener has no default action"


@stack_rule(
    "GH-ALB-011",
    title="Rules of HTTP listeners redirect to HTTPS",
    remedy=(
        'set every action of the rule to a redirect with protocol="HTTPS", or move the rule '
        "to the HTTPS listener"
    ),
    severity="high",
    types=aws("lb.ListenerRule"),
    url=f"{_GUIDE}/listener-rules.html",
)
def rules_of_http_listeners_redirect(rule: Resource, stack: Stack) -> CheckResults:
    listeners = stack.referenced_by(rule, "listenerArn", aws("lb.Listener"))
    if not any(_protocol(listener) == "HTTP" for listener in listeners):
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
    remedy=(
        'set protocol="TLS" with a certificate, or use a port of an encrypted protocol, such as 443'
    ),
    severity="high",
    types=aws("lb.Listener"),
    lists={"ports": _PLAINTEXT_PORTS},
    url="https://docs.aws.amazon.com/elasticloadbalancing/latest/network/create-tls-listener.html",
)
def tcp_listeners_use_encrypted_protocols(listener: Resource, stack: Stack) -> CheckResults:
    if _protocol(listener) not in ("TCP", "TCP_UDP"):
        return
    balancers = stack.referenced_by(listener, "loadBalancerArn", aws("lb.LoadBalancer"))
    if balancers and not any(_is_public(balancer, stack) for balancer in balancers):
        return
    if listener.props.text("port") in listener.lists["ports"]:
        yield f"the TCP listener uses port {listener.props.text('port')}"


tls_policy_is_current = _listener_rule(
    "GH-ALB-002",
    title="HTTPS listeners accept TLS 1.2 and 1.3 only",
    severity="high",
    upstream="ELB.17 CKV_AWS_103 CKV2_AWS_74",
    url=f"{_GUIDE}/describe-ssl-policies.html",
).requires(
    has_format(
        "sslPolicy",
        _STRONG_POLICY,
        example="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        message="accepts protocols older than TLS 1.2 or ciphers without forward secrecy",
    ),
    when=lambda listener: _protocol(listener) in ("HTTPS", "TLS"),
)


invalid_headers_are_dropped = _balancer_rule(
    "GH-ALB-003",
    title="Application Load Balancers drop invalid header fields",
    levels="MMM",
    upstream="ELB.4 CKV_AWS_131",
    url=_ATTRIBUTES,
).requires(is_true("dropInvalidHeaderFields"), when=_is_application_load_balancer)


access_logging_is_enabled = _balancer_rule(
    "GH-ALB-004",
    title="Load balancers have access logging enabled",
    upstream="ELB.5 4.10 CKV_AWS_91 ELB2",
    url=f"{_GUIDE}/load-balancer-access-logs.html",
).requires(
    is_true("accessLogs.enabled"),
    # Gateway Load Balancers have no access logs.
    when=lambda balancer: balancer.props.text("loadBalancerType") != "gateway",
)


deletion_protection_is_enabled = _balancer_rule(
    "GH-ALB-005",
    title="Load balancers have deletion protection enabled",
    levels="-AM",
    pack="resilience",
    upstream="ELB.6 CKV_AWS_150",
    url=_ATTRIBUTES,
).requires(is_true("enableDeletionProtection"))


desync_mitigation_is_enabled = _balancer_rule(
    "GH-ALB-006",
    title="Application Load Balancers use defensive or strictest desync mitigation",
    levels="MMM",
    upstream="ELB.12 CKV_AWS_328",
    url=f"{_ATTRIBUTES}#desync-mitigation-mode",
).requires(
    is_exactly("desyncMitigationMode", "defensive", "strictest", default="defensive"),
    when=_is_application_load_balancer,
)


@_balancer_rule(
    "GH-ALB-007",
    title="Load balancers use at least two Availability Zones",
    remedy="specify subnets in at least two Availability Zones",
    pack="resilience",
    settings={"zones_min": {"dev": 2, "staging": 2, "prod": 2}},
    upstream="ELB.13",
    url=f"{_GUIDE}/application-load-balancers.html#load-balancer-subnets",
)
def load_balancer_spans_zones(balancer: Resource) -> CheckResults:
    count = max(balancer.props.size("subnets"), balancer.props.size("subnetMappings"))
    if count < balancer.settings["zones_min"]:
        yield f"the load balancer has fewer than {balancer.settings['zones_min']:g} subnets"


@stack_rule(
    "GH-ALB-008",
    title="Internet-facing load balancers have a web ACL that fails closed",
    remedy="add an aws.wafv2.WebAclAssociation, and remove enableWafFailOpen=True",
    severity="high",
    types=aws("lb.LoadBalancer"),
    levels="AMM",
    upstream="ELB.16 CKV2_AWS_28",
    url="https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-associating-aws-resource.html",
)
def web_acl_is_associated(balancer: Resource, stack: Stack) -> CheckResults:
    if not _is_application_load_balancer(balancer) or not _is_public(balancer, stack):
        return
    if not stack.referencing(balancer, aws("wafv2.WebAclAssociation"), "resourceArn"):
        yield "no web ACL is associated with this load balancer"
    if balancer.props.flag("enableWafFailOpen"):
        yield "enableWafFailOpen is true"


@stack_rule(
    "GH-ALB-009",
    title="Target groups have a health check path and use TLS",
    remedy=(
        'set healthCheck with a path, and protocol="HTTPS" on the target group and its health '
        "check; a self-signed certificate that the target creates is sufficient"
    ),
    types=aws("lb.TargetGroup"),
    # "The load balancer does not validate these certificates":
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
    levels="AAM",
    settings={"tls_required": {"dev": 0, "staging": 0, "prod": 1}},
    upstream="ELB.22 CKV_AWS_261 CKV_AWS_378",
    url=f"{_GUIDE}/target-group-health-checks.html",
)
def targets_have_health_check_and_tls(group: Resource, stack: Stack) -> CheckResults:
    if group.props.text("targetType") == "lambda":
        return
    health = group.props.block("healthCheck")
    protocol = _protocol(group, "")
    if not health.flag("enabled", True):
        yield "healthCheck is disabled"
    elif protocol in ("HTTP", "HTTPS") and not health.has("path"):
        yield "healthCheck has no path"
    plain = protocol == "HTTP" or (protocol == "TCP" and not _passes_tls_through(group, stack))
    if group.settings["tls_required"] and plain:
        yield "protocol does not use TLS"


def _passes_tls_through(group: Resource, stack: Stack) -> bool:
    """True for an Application Load Balancer as the target, and for targets that decrypt the traffic
    of TCP listeners, whose ports GH-ALB-012 evaluates.
    """
    listeners = stack.referencing(group, aws("lb.Listener"), "defaultActions")
    protocols = {_protocol(listener) for listener in listeners}
    return group.props.text("targetType") == "alb" or protocols == {"TCP"}


classic_load_balancers_use_tls = resource_rule(
    "GH-ALB-014",
    title="Internet-facing Classic Load Balancers use HTTPS or TLS",
    severity="high",
    types=aws("elb.LoadBalancer"),
    upstream="ELB.3",
    url="https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-listener-config.html",
).requires(
    satisfies(
        "listeners[].lbProtocol",
        lambda listener, key: listener.text(key).lower() in ("https", "ssl"),
        "is neither https nor ssl",
        'set lbProtocol="https" with a certificate, or use an Application Load Balancer, which '
        "redirects to HTTPS",
    ),
    when=lambda balancer: not balancer.props.flag("internal"),
)


def _max_age_s(header: str) -> int:
    age = re.search(r"max-age=(\d+)", header)
    return int(age[1]) if age else 0


responses_have_security_headers = _listener_rule(
    "GH-ALB-010",
    title="HTTPS listeners add security headers to every response",
    strict=True,
    severity="low",
    levels="AAM",
    url=f"{_GUIDE}/header-modification.html",
).requires(
    satisfies(
        _HSTS,
        lambda listener, key: _max_age_s(listener.text(key)) >= _YEAR_S,
        "has a max-age of less than one year",
        f'set {_HSTS}="max-age={_YEAR_S}; includeSubDomains"',
    ),
    has_format(_CONTENT_TYPE, "(?i)nosniff", example="nosniff", message="is not nosniff"),
    has_format(
        _FRAME, "(?i)deny|sameorigin", example="DENY", message="is neither DENY nor SAMEORIGIN"
    ),
    is_false(_SERVER),
    when=lambda listener: _protocol(listener) == "HTTPS",
)


@stack_rule(
    "GH-ALB-013",
    title="Internet-facing Application Load Balancers set X-Forwarded-For themselves",
    remedy="remove xffHeaderProcessingMode",
    types=aws("lb.LoadBalancer"),
    url=f"{_GUIDE}/x-forwarded-headers.html",
)
def client_addresses_are_not_preserved(balancer: Resource, stack: Stack) -> CheckResults:
    # CloudFront sets the header for an internal load balancer behind a VPC origin.
    preserves = balancer.props.text("xffHeaderProcessingMode") == "preserve"
    if preserves and _is_public(balancer, stack):
        yield "xffHeaderProcessingMode is preserve, so clients choose the address"
