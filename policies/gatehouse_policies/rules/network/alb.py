"""Rules for Elastic Load Balancing: listeners, load balancer attributes and target groups."""

import re
from collections.abc import Iterable
from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import has_format, is_false, is_true, satisfies
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule

_balancer_rule = partial(resource_rule, types=aws("lb.LoadBalancer"))
_listener_rule = partial(resource_rule, types=aws("lb.Listener"))

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


@_listener_rule("GH-ALB-001")
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


@stack_rule("GH-ALB-011", types=aws("lb.ListenerRule"))
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


@stack_rule("GH-ALB-012", types=aws("lb.Listener"), lists={"ports": _PLAINTEXT_PORTS})
def tcp_listeners_use_encrypted_protocols(listener: Resource, stack: Stack) -> CheckResults:
    if _protocol(listener) not in ("TCP", "TCP_UDP"):
        return
    balancers = stack.referenced_by(listener, "loadBalancerArn", aws("lb.LoadBalancer"))
    if balancers and not any(_is_public(balancer, stack) for balancer in balancers):
        return
    if listener.props.text("port") in listener.lists["ports"]:
        yield f"the TCP listener uses port {listener.props.text('port')}"


tls_policy_is_current = _listener_rule("GH-ALB-002").requires(
    has_format(
        "sslPolicy",
        _STRONG_POLICY,
        example="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        message="accepts protocols older than TLS 1.2 or ciphers without forward secrecy",
    ),
    when=lambda listener: _protocol(listener) in ("HTTPS", "TLS"),
)


invalid_headers_are_dropped = _balancer_rule("GH-ALB-003").requires(
    is_true("dropInvalidHeaderFields"), when=_is_application_load_balancer
)


access_logging_is_enabled = _balancer_rule("GH-ALB-004").requires(
    is_true("accessLogs.enabled"),
    # Gateway Load Balancers have no access logs.
    when=lambda balancer: balancer.props.text("loadBalancerType") != "gateway",
)


@_balancer_rule("GH-ALB-007", settings={"zones_min": {"dev": 2, "staging": 2, "prod": 2}})
def load_balancer_spans_zones(balancer: Resource) -> CheckResults:
    count = max(balancer.props.size("subnets"), balancer.props.size("subnetMappings"))
    if count < balancer.settings["zones_min"]:
        yield f"the load balancer has fewer than {balancer.settings['zones_min']:g} subnets"


@stack_rule("GH-ALB-008", types=aws("lb.LoadBalancer"))
def web_acl_is_associated(balancer: Resource, stack: Stack) -> CheckResults:
    if not _is_application_load_balancer(balancer) or not _is_public(balancer, stack):
        return
    if not stack.referencing(balancer, aws("wafv2.WebAclAssociation"), "resourceArn"):
        yield "no web ACL is associated with this load balancer"
    if balancer.props.flag("enableWafFailOpen"):
        yield "enableWafFailOpen is true"


@stack_rule(
    "GH-ALB-009",
    types=aws("lb.TargetGroup"),
    # "The load balancer does not validate these certificates":
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
    settings={"tls_required": {"dev": 0, "staging": 0, "prod": 1}},
)
def targets_have_health_check_and_tls(group: Resource, stack: Stack) -> CheckResults:
    if group.props.text("targetType") == "lambda":
        return
    health = group.props.block("healthCheck")
    protocol = _protocol(group, "")
    if not health.flag("enabled", True):
        yield Violation("healthCheck is disabled", "remove healthCheck.enabled=False")
    elif protocol in ("HTTP", "HTTPS") and not health.has("path"):
        yield Violation("healthCheck has no path", "set healthCheck.path")
    plain = protocol in ("HTTP", "TCP") and not _passes_traffic_through(group, stack)
    if group.settings["tls_required"] and plain:
        yield "protocol does not use TLS"


def _passes_traffic_through(group: Resource, stack: Stack) -> bool:
    """True for an Application Load Balancer as the target, and for targets of listeners without
    TLS, which GH-ALB-001, GH-ALB-011 and GH-ALB-012 evaluate.
    """
    listeners = stack.referencing(group, aws("lb.Listener"), "defaultActions")
    for rule in stack.referencing(group, aws("lb.ListenerRule"), "actions"):
        listeners += stack.referenced_by(rule, "listenerArn", aws("lb.Listener"))
    protocols = {_protocol(listener) for listener in listeners}
    return group.props.text("targetType") == "alb" or bool(
        protocols and protocols <= {"HTTP", "TCP"}
    )


classic_load_balancers_use_tls = resource_rule(
    "GH-ALB-014", types=aws("elb.LoadBalancer")
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


responses_have_security_headers = _listener_rule("GH-ALB-010", strict=True).requires(
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


@stack_rule("GH-ALB-013", types=aws("lb.LoadBalancer"))
def client_addresses_are_not_preserved(balancer: Resource, stack: Stack) -> CheckResults:
    # CloudFront sets the header for an internal load balancer behind a VPC origin.
    preserves = balancer.props.text("xffHeaderProcessingMode") == "preserve"
    if preserves and _is_public(balancer, stack):
        yield "xffHeaderProcessingMode is preserve, so clients choose the address"
